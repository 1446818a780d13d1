"""Two characters that talk to each other, and stop: each answers others, and no conversation is longer than agreed."""

import asyncio

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext


class Character(WorkerAgent):
    lines: dict[str, str] = {}
    most_lines = 3

    def __init__(self) -> None:
        super().__init__()
        self.said = 0

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        line = next((line for cue, line in self.lines.items() if cue in context.text.lower()), None)
        if line is not None and self.said < self.most_lines:
            self.said += 1
            await self.post_to_channel(context.channel, line)


class Optimist(Character):
    default_agent_id = "optimist"
    lines = {"weather": "It will be sunny!", "rain": "Then there will be a rainbow!"}


class Pessimist(Character):
    default_agent_id = "pessimist"
    lines = {"sunny": "It looks like rain.", "rainbow": "And after it, more rain."}


async def main(host: str = "localhost", port: int = 8700) -> None:
    cast: list[Character] = [Optimist(), Pessimist()]
    for character in cast:
        await character.async_start(host, port)
    try:
        await asyncio.gather(*(character.wait_for_stop() for character in cast))
    finally:
        await asyncio.gather(*(character.async_stop() for character in cast))


if __name__ == "__main__":
    asyncio.run(main())
