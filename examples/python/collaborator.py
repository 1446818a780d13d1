"""Introduces itself, shares a file, opens a channel, answers mentions that it finds in the history."""

import asyncio
import pathlib
import tempfile

from openagents.sdk.client import AgentClient


async def main(host: str = "localhost", port: int = 8700, channel: str = "plans") -> int:
    async with AgentClient("collaborator") as client:
        await client.connect_to_server(host, port, metadata={"name": "Collaborator"})
        ws = client.workspace()
        general = ws.channel("general")
        await general.post(f"Hello, {', '.join(await ws.agents())}!")
        with tempfile.TemporaryDirectory() as folder:
            plan = pathlib.Path(folder) / "plan.txt"
            plan.write_text("1. listen\n2. answer\n")
            await general.upload_file(plan, description="What I do")
        await ws.create_channel(channel, description="What we plan")
        await ws.channel(channel).set_topic("Next steps")
        answered = 0
        for message in await general.get_messages(limit=50):
            if "@collaborator" in message["content"]["text"]:
                await general.react(message["message_id"], "eyes")
                await general.reply(message["message_id"], "Here I am")
                answered += 1
        return answered


if __name__ == "__main__":
    print(asyncio.run(main()), "mentions answered")
