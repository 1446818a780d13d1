"""What this package does in a second, and how long a question takes; prints one JSON object."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time

EVENTS = 100_000
MESSAGES = 5_000
ASKERS = 20
QUESTIONS = 25
CHUNK = 64
CHUNKS_IN_FLIGHT = 16


async def receive(port: int, count: int) -> float:
    """Events a second into a handler, from the first to the last; another process sends them."""
    from openagents.sdk.client import AgentClient

    client = AgentClient("receiver")
    done = asyncio.Event()
    seen, began = 0, 0.0

    async def handle(event: object) -> None:
        nonlocal seen, began
        if seen == 0:
            began = time.perf_counter()
        seen += 1
        if seen == count:
            done.set()

    client.register_event_handler(handle, ["custom.*"])
    assert await client.connect_to_server("127.0.0.1", port)
    sender = subprocess.Popen([sys.executable, __file__, "send", str(port), str(count)])
    await done.wait()
    took = time.perf_counter() - began
    assert sender.wait() == 0
    await client.disconnect()
    return count / took


async def send(port: int, count: int) -> None:
    from openagents.models.event import Event
    from openagents.sdk.client import AgentClient

    client = AgentClient("sender")
    assert await client.connect_to_server("127.0.0.1", port)
    slots = asyncio.Semaphore(CHUNKS_IN_FLIGHT)
    payload = {"text": "a small event, as agents send them"}

    async def chunk(size: int) -> None:
        async with slots:
            events = [
                Event("custom.small", destination_id="agent:receiver", payload=payload) for _ in range(size)
            ]
            answers = await client.send_events(events)
            assert all(answer.success for answer in answers)

    sizes = [CHUNK] * (count // CHUNK) + [count % CHUNK]
    await asyncio.gather(*(chunk(size) for size in sizes if size))
    await client.disconnect()


async def message(port: int) -> list[float]:
    """Seconds from sending a direct message to the handler of another agent in this process."""
    from openagents.sdk.client import AgentClient

    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def handle(event: object) -> None:
        arrived.put_nowait(time.perf_counter())

    times = []
    async with AgentClient("told") as receiver, AgentClient("teller") as sender:
        receiver.register_event_handler(handle, ["direct.message.received"])
        assert await receiver.connect_to_server("127.0.0.1", port)
        assert await sender.connect_to_server("127.0.0.1", port)
        peer = sender.workspace().agent("told")
        for _ in range(MESSAGES):
            began = time.perf_counter()
            sending = asyncio.ensure_future(peer.send("a small message, as agents send them"))
            times.append(await arrived.get() - began)
            assert (await sending).success
    return times


async def ask(port: int, count: int) -> list[float]:
    """Seconds of each question that another process answers."""
    from openagents.sdk.client import AgentClient

    answerer = subprocess.Popen([sys.executable, __file__, "answer", str(port)], stdout=subprocess.PIPE)
    assert answerer.stdout is not None
    answerer.stdout.readline()
    times = []
    # One after the other: the workspace holds conversations of two agents that go on for too long.
    for number in range(ASKERS):
        async with AgentClient(f"asker-{number}") as client:
            assert await client.connect_to_server("127.0.0.1", port)
            peer = client.workspace().agent("answerer")
            for _ in range(count):
                began = time.perf_counter()
                answer = await peer.send_and_wait("ready?", timeout=10.0)
                times.append(time.perf_counter() - began)
                assert answer is not None and answer["text"] == "yes", answer
            if number == ASKERS - 1:
                await peer.send("stop")
    assert answerer.wait() == 0
    return times


async def answer(port: int) -> None:
    from openagents.sdk.client import AgentClient

    client = AgentClient("answerer")
    stop = asyncio.Event()

    async def handle(event: object) -> None:
        if event.text == "stop":  # type: ignore[attr-defined]
            stop.set()
        else:
            await client.workspace().agent(event.source_id).send("yes")  # type: ignore[attr-defined]

    client.register_event_handler(handle, ["direct.message.received"])
    assert await client.connect_to_server("127.0.0.1", port)
    print("ready", flush=True)
    await stop.wait()
    await client.disconnect()


def import_seconds() -> float:
    """The best of some fresh interpreters; asyncio is part of it."""

    def best(statement: str) -> float:
        code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        runs = [subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(7)]
        return min(float(run) for run in runs)

    return best("from openagents.sdk.client import AgentClient")


def spread(name: str, times: list[float]) -> dict[str, float]:
    """What is told of some times."""
    thousandths = statistics.quantiles(times, n=1000)
    return {
        f"{name}_p50_us": statistics.median(times) * 1e6,
        f"{name}_p99_us": thousandths[989] * 1e6,
        f"{name}_p999_us": thousandths[998] * 1e6,
    }


def measure(port: int) -> None:
    measured = spread("message", asyncio.run(message(port)))
    measured |= spread("ask", asyncio.run(ask(port, QUESTIONS)))
    measured |= {"import_ms": import_seconds() * 1000, "events_per_second": asyncio.run(receive(port, EVENTS))}
    print(json.dumps(measured))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", port]:
            measure(int(port))
        case ["message", port]:
            print(json.dumps(spread("message", asyncio.run(message(int(port))))))
        case ["send", port, count]:
            asyncio.run(send(int(port), int(count)))
        case ["answer", port]:
            asyncio.run(answer(int(port)))
