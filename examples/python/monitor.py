"""Counts channel, direct, file and reaction events, and reports every 10 s."""

import asyncio
from collections import Counter
from collections.abc import Callable

from openagents.models.event import Event
from openagents.sdk.client import AgentClient

KINDS = ["channel", "direct", "file", "reaction"]


async def main(
    host: str = "localhost", port: int = 8700, every: float = 10.0, report: Callable[[str], object] = print
) -> None:
    counts: Counter[str] = Counter()

    def counter(kind: str) -> Callable[[Event], None]:
        def count(event: Event) -> None:
            counts[kind] += 1

        return count

    async with AgentClient("monitor") as client:
        await client.connect_to_server(host, port)
        ws = client.workspace()
        for kind in KINDS:
            ws.subscribe_to_events([f"workspace.{kind}.*"], counter(kind))
        while True:
            await asyncio.sleep(every)
            channels, agents = len(await ws.channels()), len(await ws.agents())
            seen = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
            report(f"{seen}; {channels} channels, {agents} agents")


if __name__ == "__main__":
    asyncio.run(main())
