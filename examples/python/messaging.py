"""Makes a channel, posts plain text, Markdown and notes, replies, reads the history, waits."""

import asyncio

from openagents.models.event import Event
from openagents.sdk.client import AgentClient


async def main(host: str = "localhost", port: int = 8700, channel: str = "dev") -> list[str]:
    told: list[str] = []
    async with AgentClient("writer") as writer, AgentClient("reader") as reader:
        await writer.connect_to_server(host, port)
        await reader.connect_to_server(host, port)
        dev = await writer.workspace().create_channel(channel, description="Where we build")

        async def answer(event: Event) -> None:
            if event.text.endswith("?"):
                await reader.workspace().channel(channel).reply(event.id, "Yes")

        reader.register_event_handler(answer, ["channel.message.posted"])
        plain = await dev.post("The build is green")
        await dev.post("## Release\n\n- **fast**\n- `small`")
        await dev.post("Deployed", metadata={"type": "deployment", "version": 3})
        await dev.reply(plain.data["message_id"], "Thanks")
        reply = await dev.post_and_wait("Do we ship today?", timeout=10.0)
        told.append(f"Answer: {reply['content']['text'] if reply else 'none'}")
        waiting = asyncio.create_task(dev.wait_for_post(from_agent="reader", timeout=10.0))
        await asyncio.sleep(0)
        await reader.workspace().channel(channel).post("Shipped")
        post = await waiting
        told.append(f"Post: {post['content']['text'] if post else 'none'}")
        for message in reversed(await dev.get_messages(limit=10)):
            told.append(f"{message['sender_id']}: {message['content']['text']}")
    return told


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
