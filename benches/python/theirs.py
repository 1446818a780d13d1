"""The same measurements with the official package, `openagents==0.9.3.post20`, against the official server.

It polls once a second, so fewer events and questions are enough. Prints one JSON object, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pathlib
import statistics
import subprocess
import sys
import time

EVENTS = 2_000
QUESTIONS = 6
AT_ONCE = 16
REFERENCE = pathlib.Path(__file__).parents[2] / "crates" / "e2e" / "python" / "official" / "reference.py"

# The package prints a lot; what is measured goes out past it.
out = os.fdopen(os.dup(1), "w", buffering=1)
sys.stdout = open(os.devnull, "w")
logging.disable(logging.CRITICAL)


async def join(agent_id: str, port: int):
    from openagents.core.client import AgentClient

    client = AgentClient(agent_id)
    return client, await client.connect_to_server("127.0.0.1", port, enforce_transport_type="http")


def beside(*arguments: object) -> subprocess.Popen[str]:
    """Another process of this program, once it is ready."""
    command = [sys.executable, __file__, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


async def receive(port: int) -> float:
    client, joined = await join("receiver", port)
    assert joined
    done = asyncio.Event()
    seen, began = 0, 0.0

    async def handle(event) -> None:
        nonlocal seen, began
        if event.event_name != "thread.direct_message.notification":
            return
        if seen == 0:
            began = time.perf_counter()
        seen += 1
        if seen == EVENTS:
            done.set()

    client.register_event_handler(handle)
    sender = beside("send", port)
    await asyncio.wait_for(done.wait(), 300)
    took = time.perf_counter() - began
    sender.wait()
    return EVENTS / took


async def send(port: int) -> None:
    client, joined = await join("sender", port)
    assert joined
    print("ready", file=out)
    slots = asyncio.Semaphore(AT_ONCE)
    peer = client.workspace().agent("receiver")

    async def one() -> None:
        async with slots:
            await peer.send("a small event, as agents send them")

    await asyncio.gather(*(one() for _ in range(EVENTS)))


async def ask(port: int) -> list[float]:
    answerer = beside("answer", port)
    client, joined = await join("asker", port)
    assert joined
    peer = client.workspace().agent("answerer")
    times = []
    for _ in range(QUESTIONS):
        began = time.perf_counter()
        await peer.send_and_wait("ready?", timeout=10.0)
        times.append(time.perf_counter() - began)
    answerer.terminate()
    answerer.wait()
    return times


async def answer(port: int) -> None:
    client, joined = await join("answerer", port)
    assert joined

    async def handle(event) -> None:
        if event.event_name == "thread.direct_message.notification":
            await client.workspace().agent(event.source_id.split(":")[-1]).send("yes")

    client.register_event_handler(handle)
    print("ready", file=out)
    await asyncio.Event().wait()


def import_seconds() -> float:
    code = "import time; t = time.perf_counter(); from openagents.core.client import AgentClient; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code], text=True).split()[-1]) for _ in range(3))


def measure() -> None:
    server = subprocess.Popen(
        [sys.executable, str(REFERENCE)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["http"]
        times = asyncio.run(ask(port))
        measured = {
            "import_ms": import_seconds() * 1000,
            "events_per_second": asyncio.run(receive(port)),
            "ask_p50_us": statistics.median(times) * 1e6,
            "ask_p99_us": max(times) * 1e6,
        }
        print(json.dumps(measured), file=out)
    finally:
        server.kill()
        server.wait()
    out.flush()
    # The client leaves tasks and threads behind.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure()
    else:
        asyncio.run({"send": send, "answer": answer}[sys.argv[1]](int(sys.argv[2])))
