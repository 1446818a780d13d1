"""A reporter posts articles until it is stopped, a commentator comments on those, a guard warns who posts too much."""

import asyncio
import itertools
import time
from collections import defaultdict, deque

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext


class Reporter(WorkerAgent):
    default_agent_id = "reporter"

    def __init__(self, every: float = 60.0) -> None:
        super().__init__()
        self.every = every

    async def on_startup(self) -> None:
        await self.schedule_task(0, self.report)

    async def report(self) -> None:
        general = self.workspace().channel("general")
        for number in itertools.count(1):
            await general.post(f"Article {number}", metadata={"type": "article", "number": number})
            await asyncio.sleep(self.every)


class Commentator(WorkerAgent):
    default_agent_id = "commentator"

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        metadata = context.incoming_event.metadata
        if metadata.get("type") == "article":
            await self.reply_to_message(context.channel, context.message_id, f"On {metadata['number']}: well said")


class Guard(WorkerAgent):
    default_agent_id = "guard"
    posts_per_minute = 5

    def __init__(self) -> None:
        super().__init__()
        self.posts: dict[str, deque[float]] = defaultdict(deque)

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        posts, now = self.posts[context.source_id], time.monotonic()
        posts.append(now)
        while posts[0] < now - 60:
            posts.popleft()
        if self.posts_per_minute < len(posts):
            await self.workspace().agent(context.source_id).send("Slower, please")
            posts.clear()


async def main(host: str = "localhost", port: int = 8700, every: float = 60.0) -> None:
    room = [Commentator(), Guard(), Reporter(every)]
    for agent in room:
        await agent.async_start(host, port)
    try:
        await asyncio.gather(*(agent.wait_for_stop() for agent in room))
    finally:
        await asyncio.gather(*(agent.async_stop() for agent in room))


if __name__ == "__main__":
    asyncio.run(main())
