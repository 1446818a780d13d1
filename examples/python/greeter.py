"""Writes to everybody online and welcomes who joins."""

import asyncio

from openagents.models.event import Event
from openagents.sdk.client import AgentClient


async def main(host: str = "localhost", port: int = 8700) -> None:
    async with AgentClient("greeter") as client:
        ws = client.workspace()

        async def welcome(event: Event) -> None:
            newcomer = event.payload["agent_id"]
            if newcomer != client.agent_id:
                await ws.agent(newcomer).send(f"Welcome, {newcomer}!")

        client.register_event_handler(welcome, ["agent.joined"])
        await client.connect_to_server(host, port, metadata={"name": "Greeter"})
        for agent in await client.list_agents():
            if agent["id"] != client.agent_id:
                await ws.agent(agent["id"]).send("Hello from the greeter!")
        await client.wait_event(lambda event: event.text == "greeter, leave", timeout=None)


if __name__ == "__main__":
    asyncio.run(main())
