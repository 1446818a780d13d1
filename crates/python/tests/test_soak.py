"""What takes minutes: memory stays flat however often one connects and however much arrives."""

from __future__ import annotations

import asyncio
import gc
import os
import pathlib

import pytest
from conftest import Server, unique

from openagents.models.event import Event
from openagents.sdk.client import AgentClient

pytestmark = pytest.mark.full

CYCLES = 10_000
EVENTS = 1_000_000
CHUNK = 500
# What allocators keep for later, in bytes; a leak of 1 kB for each cycle would be 10 MB.
TOLERANCE = 8_000_000


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_ten_thousand_connections_leave_memory_flat(server: Server) -> None:
    name = unique("cycler")

    async def cycle(count: int) -> None:
        for _ in range(count):
            async with AgentClient(name) as client:
                client.register_event_handler(lambda event: None, "custom.*")
                assert await client.connect_to_server("127.0.0.1", server.port)

    await cycle(CYCLES // 10)
    before = resident()
    await cycle(CYCLES)
    assert resident() - before < TOLERANCE


async def test_a_million_events_leave_memory_flat(server: Server) -> None:
    async with server.joined("sender", "receiver") as (sender, receiver):
        seen, wanted, enough = 0, 0, asyncio.Event()

        async def handle(event: Event) -> None:
            nonlocal seen
            seen += 1
            if seen == wanted:
                enough.set()

        receiver.register_event_handler(handle, "custom.*")

        async def send(count: int) -> None:
            nonlocal wanted
            wanted, target = seen + count, f"agent:{receiver.agent_id}"
            enough.clear()
            for _ in range(count // CHUNK):
                events = [Event("custom.small", destination_id=target, payload={"n": n}) for n in range(CHUNK)]
                assert all(await sender.send_events(events))
            await enough.wait()

        await send(EVENTS // 10)
        before = resident()
        await send(EVENTS)
        assert resident() - before < TOLERANCE
