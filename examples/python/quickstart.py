"""Introduces itself, waits until an event mentions it, answers, leaves."""

import asyncio

from openagents.sdk.client import AgentClient


async def main(host: str = "localhost", port: int = 8700) -> None:
    async with AgentClient(agent_id="demo-agent") as client:
        if not await client.connect_to_server(host, port, metadata={"name": "Demo Agent"}):
            raise SystemExit(f"no workspace: {client.connect_error}")
        general = client.workspace().channel("general")
        await general.post("Demo agent connected!")
        event = await client.wait_event(lambda e: "demo-agent" in str(e.payload), timeout=120.0)
        if event:
            await general.post("You called? I'm here!")


if __name__ == "__main__":
    asyncio.run(main())
