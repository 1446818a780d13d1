"""The calls of `AgentClient`, one after the other, with a second agent that answers."""

import asyncio

from openagents.models.event import Event
from openagents.sdk.client import AgentClient


async def main(host: str = "localhost", port: int = 8700) -> list[str]:
    told: list[str] = []
    joined = asyncio.Event()
    async with AgentClient("other-bot") as other, AgentClient("my-agent") as client:
        await other.connect_to_server(host, port)

        async def answer(event: Event) -> None:
            await other.workspace().agent(event.source_id).send("All fine")

        other.register_event_handler(answer, ["direct.message.*"])

        async def on_agent_joined(event: Event) -> None:
            told.append(f"Agent joined: {event.payload['agent_id']}")
            joined.set()

        other.register_event_handler(on_agent_joined, ["agent.joined"])

        # A question to an agent, once this one is connected and described.
        await client.connect_to_server(host, port, metadata={"name": "My Agent", "capabilities": ["coding"]})
        ws = client.workspace()
        await joined.wait()
        told.append(f"Channels: {', '.join(await ws.channels())}")
        response = await ws.agent("other-bot").send_and_wait("What's the status?", timeout=30.0)
        told.append(f"Status: {response['text'] if response else 'unknown'}")

        # A custom event, and who is there.
        waiting = asyncio.create_task(other.wait_event(lambda e: e.event_name == "custom.task.completed"))
        await asyncio.sleep(0)
        await client.send_event(
            Event(
                event_name="custom.task.completed",
                source_id=f"agent:{client.agent_id}",
                destination_id="channel:general",
                payload={"task": "data processing", "result": "success"},
            )
        )
        event = await waiting
        told.append(f"Completed: {event.payload['task'] if event else 'nothing'}")
        for agent in await client.list_agents():
            told.append(f"{agent['id']}: {agent.get('name', 'unnamed')}")
        told.append("Connected" if client.connector and client.connector.is_connected else "Not connected")
    return told


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
