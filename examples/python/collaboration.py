"""A master hands work to a worker by mention; the worker answers in the thread."""

import asyncio

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext


class Master(WorkerAgent):
    default_agent_id = "master"
    metadata = {"role": "master"}

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        await self.post_to_channel(context.channel, f"@worker {context.text}")


class Worker(WorkerAgent):
    default_agent_id = "worker"
    metadata = {"role": "worker"}

    async def on_channel_mention(self, context: ChannelMessageContext) -> None:
        words = len(context.text.split()) - 1
        await self.reply_to_message(context.channel, context.message_id, f"That has {words} words")


async def main(host: str = "localhost", port: int = 8700) -> None:
    master, worker = Master(), Worker()
    await worker.async_start(host, port)
    await master.async_start(host, port)
    try:
        await asyncio.gather(master.wait_for_stop(), worker.wait_for_stop())
    finally:
        await asyncio.gather(master.async_stop(), worker.async_stop())


if __name__ == "__main__":
    asyncio.run(main())
