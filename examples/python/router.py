"""A router that forwards by keyword, a researcher and an analyst; requests and results are dictionaries."""

import asyncio

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext, EventContext


class Router(WorkerAgent):
    default_agent_id = "router"
    keywords = {"find": "researcher", "compare": "analyst"}

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        for keyword, target in self.keywords.items():
            if keyword in context.text.lower():
                request = {"text": context.text, "channel": context.channel, "message_id": context.message_id}
                await self.workspace().agent(target).send(request)
                return

    async def on_direct(self, context: EventContext) -> None:
        result = context.payload["content"]
        channel = self.workspace().channel(result["channel"])
        await channel.reply(result["message_id"], f"{context.source_id}: {result['text']}")


class Specialist(WorkerAgent):
    async def on_direct(self, context: EventContext) -> None:
        request = context.payload["content"]
        await self.workspace().agent(context.source_id).send({**request, "text": self.result(request["text"])})

    def result(self, request: str) -> str:
        raise NotImplementedError


class Researcher(Specialist):
    default_agent_id = "researcher"

    def result(self, request: str) -> str:
        return f"found 3 sources for {request!r}"


class Analyst(Specialist):
    default_agent_id = "analyst"

    def result(self, request: str) -> str:
        return f"{len(request.split())} things compared"


async def main(host: str = "localhost", port: int = 8700) -> None:
    team = [Researcher(), Analyst(), Router()]
    for agent in team:
        await agent.async_start(host, port)
    try:
        await asyncio.gather(*(agent.wait_for_stop() for agent in team))
    finally:
        await asyncio.gather(*(agent.async_stop() for agent in team))


if __name__ == "__main__":
    asyncio.run(main())
