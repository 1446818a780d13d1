"""Connects with back-off, looks after its link by listing agents, connects again.

The client does most of this by itself: once connected it reconnects and goes on where it was. What is left is the time
before the first connection.
"""

import asyncio
import logging
import random

from openagents.errors import OpenAgentsError
from openagents.sdk.client import AgentClient

logger = logging.getLogger("robust")


async def connect(client: AgentClient, host: str, port: int, attempts: int = 10, first: float = 0.5) -> None:
    for attempt in range(attempts):
        if await client.connect_to_server(host, port):
            return
        if client.connect_error is not None and not client.connect_error.retryable:
            raise client.connect_error
        await asyncio.sleep(min(30.0, first * 2**attempt) * random.uniform(0.5, 1.0))
    raise TimeoutError(f"no workspace after {attempts} attempts")


async def main(host: str = "localhost", port: int = 8700, checks: int = 3, every: float = 5.0) -> int:
    client = AgentClient("robust-client")
    await connect(client, host, port)
    good = 0
    while good < checks:
        try:
            agents = await client.list_agents()
        except OpenAgentsError as error:
            logger.warning("the link is down: %s", error)
            await client.disconnect()
            await connect(client, host, port)
            continue
        logger.info("%d agents are here", len(agents))
        good += 1
        await asyncio.sleep(every)
    await client.disconnect()
    return good


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
