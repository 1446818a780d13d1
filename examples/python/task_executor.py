"""Queues tasks from channels and direct messages, and reports where they were asked."""

import asyncio
from collections.abc import Awaitable, Callable

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext, EventContext

Report = Callable[[str], Awaitable[object]]


class TaskExecutor(WorkerAgent):
    default_agent_id = "task-executor"

    def __init__(self, agent_id: str | None = None) -> None:
        super().__init__(agent_id)
        self.tasks: asyncio.Queue[tuple[str, Report]] = asyncio.Queue(maxsize=100)

    async def on_startup(self) -> None:
        await self.schedule_task(0, self.work)

    async def work(self) -> None:
        while True:
            task, report = await self.tasks.get()
            await report(f"done: {task}")

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        if not context.text.startswith("task:"):
            return
        channel = self.workspace().channel(context.channel)

        async def report(text: str) -> None:
            await channel.reply(context.message_id, text)

        await self.tasks.put((context.text.removeprefix("task:").strip(), report))

    async def on_direct(self, context: EventContext) -> None:
        peer = self.workspace().agent(context.source_id)
        await self.tasks.put((context.text, peer.send))


if __name__ == "__main__":
    agent = TaskExecutor()
    agent.start(network_host="localhost", network_port=8700)
    agent.wait_for_stop()
