"""A WorkerAgent with every hook, and an agent that sets each of them off."""

import asyncio
import base64
import sys

from harness import LIMIT, Agent, check, run

from openagents.agents.worker_agent import WorkerAgent, on_event


class Worker(WorkerAgent):
    default_agent_id = "worker"

    def __init__(self, agent_id):
        super().__init__(agent_id=agent_id)
        self.called = []
        self.changed = asyncio.Condition()

    async def note(self, hook, *what):
        async with self.changed:
            self.called.append((hook, *what))
            self.changed.notify_all()

    async def on_startup(self):
        await self.note("startup")

    async def on_shutdown(self):
        await self.note("shutdown")

    async def on_direct(self, context):
        await self.note("direct", context.source_id, context.text)
        if context.text == "question":
            await self.send_direct(context.source_id, text="answer")

    async def on_channel_post(self, context):
        await self.note("post", context.source_id, context.channel, context.text)

    async def on_channel_mention(self, context):
        await self.note("mention", context.source_id, context.text)
        await self.reply_to_message(context.channel, context.message_id, text="you called?")

    async def on_channel_reply(self, context):
        await self.note("reply", context.source_id, context.text, context.reply_to_id)

    async def on_reaction(self, context):
        await self.note("reaction", context.reactor_id, context.target_message_id, context.reaction_type, context.action)

    async def on_file_received(self, context):
        await self.note("file", context.filename, context.file_content, context.file_size)

    @on_event("demo.custom.*")
    async def custom(self, context):
        await self.note("custom", context.incoming_event.event_name)

    async def calls(self, wanted):
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: wanted in self.called), LIMIT)


async def main(port, transport):
    worker = Worker("worker-" + transport)
    await worker.async_start(url=None, network_host="127.0.0.1", network_port=port, metadata={"transport": transport})
    await worker.calls(("startup",))
    own = worker.client.agent_id
    peer = Agent("peer-" + transport)
    check(await peer.join(port, transport), True)

    general = peer.channel("general")
    posted = await general.post("hello")
    await worker.calls(("post", peer.id, "general", "hello"))
    await general.post(f"hey @{own}")
    await worker.calls(("mention", peer.id, f"hey @{own}"))
    # The worker answers by the id that it was told: the id of the message.
    event = await peer.event("thread.reply.notification")
    check(event.payload["content"]["text"], "you called?")
    await general.reply(event.event_id, "I did")
    await worker.calls(("reply", peer.id, "I did", event.event_id))
    await peer.agent(own).send("question")
    await worker.calls(("direct", peer.id, "question"))
    await peer.event("thread.direct_message.notification", lambda e: e.payload["content"]["text"] == "answer")
    await peer.client.send_agent_message(own, {"content": {"text": "plain"}})
    await worker.calls(("direct", peer.id, "plain"))
    await general.react_to_message(posted.data["message_id"], "heart")
    await worker.calls(("reaction", peer.id, posted.data["message_id"], "heart", "add"))
    await general.react_to_message(posted.data["message_id"], "heart", action="remove")
    await worker.calls(("reaction", peer.id, posted.data["message_id"], "heart", "remove"))
    content = base64.b64encode(b"x").decode()
    upload = {"filename": "x.txt", "file_content": content, "mime_type": "text/plain", "file_size": 1}
    await peer.send("thread.file.upload", {**upload, "channel": "general"})
    await worker.calls(("file", "x.txt", content, 1))
    await peer.send("demo.custom.sent", {}, to=own)
    await worker.calls(("custom", "demo.custom.sent"))
    check(own in await worker.get_agent_list(), True)

    await worker.async_stop()
    await worker.calls(("shutdown",))
    check(len(worker.called), len(set(worker.called)), "every hook once")
    check(await peer.leave(), True)


run(main(int(sys.argv[1]), sys.argv[2]))
