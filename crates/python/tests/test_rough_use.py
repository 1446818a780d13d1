"""What programs do to a client that was never meant: loops that close, cancelled waits, odd values."""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import LIMIT, Journal, Server, unique

from openagents.agents import WorkerAgent
from openagents.errors import InvalidInputError, OpenAgentsError
from openagents.models.event import Event
from openagents.models.event_context import EventContext
from openagents.sdk.client import AgentClient

# More than may be under way to a client at once.
MANY = 2500


def numbers(target: AgentClient, name: str, count: int) -> list[Event]:
    destination = f"agent:{target.agent_id}"
    return [Event(name, destination_id=destination, payload={"n": number}) for number in range(count)]


def stuck(begun: asyncio.Event) -> Callable[[Event], Awaitable[None]]:
    """A handler that tells that it began, and never ends."""

    async def handle(event: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    return handle


def test_what_a_closed_loop_left_holds_up_nothing_in_the_next(server: Server) -> None:
    client = AgentClient(unique("twice"))

    async def begin() -> None:
        begun = asyncio.Event()
        client.register_event_handler(stuck(begun), "custom.*")
        assert await client.connect_to_server("127.0.0.1", server.port)
        async with server.joined("sender") as (sender,):
            await sender.send_events(numbers(client, "custom.first", 1000))
        await begun.wait()

    async def go_on() -> None:
        journal = Journal()
        client.register_event_handler(journal.write, "custom.second")
        async with server.joined("sender") as (sender,):
            assert all(await sender.send_events(numbers(client, "custom.second", MANY)))
            assert len(await asyncio.wait_for(journal.reaches(MANY), LIMIT)) == MANY
        await client.disconnect()

    asyncio.run(begin())
    asyncio.run(go_on())


def test_a_loop_that_closes_holds_up_no_other(server: Server) -> None:
    client = AgentClient(unique("shared"))
    registered, closed = threading.Event(), threading.Event()

    async def away() -> None:
        begun = asyncio.Event()
        client.register_event_handler(stuck(begun), "custom.away")
        registered.set()
        await begun.wait()

    def run_away() -> None:
        asyncio.run(away())
        closed.set()

    async def home() -> None:
        journal = Journal()
        client.register_event_handler(journal.write, "custom.home")
        assert await client.connect_to_server("127.0.0.1", server.port)
        thread = threading.Thread(target=run_away)
        thread.start()
        await asyncio.to_thread(registered.wait)
        async with server.joined("sender") as (sender,):
            await sender.send_events(numbers(client, "custom.away", 300))
            await asyncio.to_thread(closed.wait)
            for name in ("custom.home", "custom.away", "custom.home"):
                assert all(await sender.send_events(numbers(client, name, MANY)))
            assert len(await asyncio.wait_for(journal.reaches(2 * MANY), LIMIT)) == 2 * MANY
        thread.join()
        await client.disconnect()

    asyncio.run(home())


def test_what_a_closed_loop_left_comes_again_with_the_next_connection(server: Server) -> None:
    client, seen = AgentClient(unique("again")), []

    async def begin() -> None:
        begun = asyncio.Event()
        client.register_event_handler(stuck(begun), "custom.*")
        assert await client.connect_to_server("127.0.0.1", server.port)
        async with server.joined("sender") as (sender,):
            await sender.send_events(numbers(client, "custom.event", 3))
        await begun.wait()

    async def end() -> None:
        await client.disconnect()

    async def go_on() -> None:
        journal = Journal()
        again = AgentClient(client.agent_id)
        again.register_event_handler(journal.write, "custom.*")
        assert await again.connect_to_server("127.0.0.1", server.port)
        seen.extend(event.payload["n"] for event in await journal.reaches(3))
        await again.disconnect()

    asyncio.run(begin())
    asyncio.run(end())
    asyncio.run(go_on())
    assert seen == [0, 1, 2]


async def test_waits_that_are_cancelled_leave_nothing_behind(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        for _ in range(20):
            waits = [asyncio.create_task(bob.wait_event(lambda event: False, timeout=None)) for _ in range(50)]
            await asyncio.sleep(0)
            await alice.send_event(Event("custom.event", destination_id=f"agent:{bob.agent_id}"))
            for wait in waits:
                wait.cancel()
            outcomes = await asyncio.gather(*waits, return_exceptions=True)
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        waiting = asyncio.create_task(bob.wait_event(lambda event: event.event_name == "custom.last"))
        await asyncio.sleep(0)
        await alice.send_events(numbers(bob, "custom.event", MANY))
        await alice.send_event(Event("custom.last", destination_id=f"agent:{bob.agent_id}"))
        assert await waiting is not None


def test_a_worker_is_started_in_one_loop_and_stopped_in_the_next(server: Server) -> None:
    class Stuck(WorkerAgent):
        async def on_direct(self, context: EventContext) -> None:
            begun.set()
            await asyncio.Event().wait()

    agent, begun = Stuck(unique("stuck")), threading.Event()

    async def begin() -> None:
        await agent.start("127.0.0.1", server.port)
        async with server.joined("ana") as (ana,):
            await ana.workspace().agent(agent.agent_id).send("hello")
        await asyncio.to_thread(begun.wait)

    async def end() -> None:
        await agent.stop()

    for _ in range(2):
        begun.clear()
        asyncio.run(begin())
        asyncio.run(end())
        assert not agent.client.is_connected


class Colour(enum.IntEnum):
    RED = 1


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "arrives"),
    [
        ({"deep": nested(99)}, {"deep": nested(99)}),
        ({"n": -(10**300)}, {"n": -(10**300)}),
        ({"tuple": (1, 2), "colour": Colour.RED, "true": True}, {"tuple": [1, 2], "colour": 1, "true": True}),
        ({1: "one", None: "none", 2.5: "half"}, {"1": "one", "null": "none", "2.5": "half"}),
        ({"text": "\U0010ffff\x7f\u200b\ufeff\u202e"}, {"text": "\U0010ffff\x7f\u200b\ufeff\u202e"}),
        ({"same": [[], []], "again": [1] * 3}, {"same": [[], []], "again": [1] * 3}),
    ],
)
async def test_whatever_json_can_say_arrives(server: Server, payload: dict[Any, Any], arrives: dict[str, Any]) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        waiting = asyncio.create_task(bob.wait_event(lambda event: event.event_name == "custom.odd"))
        await asyncio.sleep(0)
        response = await alice.send_event(
            Event("custom.odd", destination_id=f"agent:{bob.agent_id}", payload=payload)
        )
        assert response.success, response
        event = await waiting
        assert event is not None and event.payload == arrives


@pytest.mark.parametrize("payload", [{"deep": nested(100)}, {"n": 10**400}])
async def test_what_other_readers_could_not_read_is_refused_by_the_workspace(server: Server, payload: Any) -> None:
    async with server.joined("alice") as (alice,):
        response = await alice.send_event(Event("custom.odd", destination_id="agent:broadcast", payload=payload))
        assert (response.success, response.code) == (False, "invalid_json")


@pytest.mark.parametrize(
    "payload",
    [
        {"nan": float("nan")},
        {"inf": [float("-inf")]},
        {"half": "\udfff"},
        {"\ud800": 1},
        {"bytes": b"x"},
        {"deep": nested(100_000)},
        {("a", "tuple"): 1},
    ],
)
async def test_what_json_cannot_say_is_refused_and_the_client_goes_on(server: Server, payload: dict[Any, Any]) -> None:
    async with server.joined("alice") as (alice,):
        event = Event("custom.odd", destination_id="agent:broadcast", payload=payload)
        for _ in range(2):
            with pytest.raises(InvalidInputError) as caught:
                await alice.send_event(event)
            assert caught.value.field == "payload"
        assert (await alice.send_event(Event("custom.sound", destination_id="agent:broadcast"))).success


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"port": 0}, "port"),
        ({"port": 1 << 16}, "port"),
        ({"port": 10**30}, "port"),
        ({"timeout": float("nan")}, "timeout"),
        ({"metadata": {"nan": float("nan")}}, "metadata"),
    ],
)
async def test_odd_arguments_are_told_with_their_field(server: Server, options: dict[str, Any], field: str) -> None:
    client = AgentClient(unique("me"))
    with pytest.raises(InvalidInputError) as caught:
        await client.connect_to_server("127.0.0.1", **{"port": server.port, **options})
    assert caught.value.field == field
    assert await client.connect_to_server("127.0.0.1", server.port, timeout=None)
    with pytest.raises(InvalidInputError):
        await client.wait_event(timeout=float("nan"))
    assert await client.wait_event(timeout=-1) is None
    await client.disconnect()


async def test_a_text_that_is_none_is_refused(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        for act in (
            lambda: alice.workspace().channel("general\ud800").post("x"),
            lambda: AgentClient("\ud800").connect_to_server("127.0.0.1", server.port),
            lambda: alice.connect_to_server("\ud800", server.port),
        ):
            with pytest.raises(ValueError):
                await act()


async def test_a_connection_that_is_cancelled_half_way_can_be_made_again(server: Server) -> None:
    client = AgentClient(unique("me"))
    for _ in range(20):
        connecting = asyncio.create_task(client.connect_to_server("127.0.0.1", server.port))
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
    assert await client.connect_to_server("127.0.0.1", server.port)
    assert (await client.workspace().channel("general").post("here")).success
    await client.disconnect()


async def test_many_threads_with_loops_of_their_own_use_one_client(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        channel = (await alice.workspace().create_channel(unique("threads"))).name
        failures: list[BaseException] = []

        async def post(number: int) -> None:
            for count in range(20):
                assert (await alice.workspace().channel(channel).post(f"{number} {count}")).success

        def run(number: int) -> None:
            try:
                asyncio.run(post(number))
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert failures == []
        texts = [message["text"] for message in await alice.workspace().channel(channel).get_messages(limit=1000)]
        assert sorted(texts) == sorted(f"{number} {count}" for number in range(8) for count in range(20))


def test_a_call_outside_a_loop_says_that_there_is_none() -> None:
    call = AgentClient("me").list_agents()
    with pytest.raises(RuntimeError, match="no running event loop"):
        call.send(None)


async def test_errors_survive_pickles(server: Server) -> None:
    import pickle

    error = InvalidInputError("no", code="invalid_field", field="port")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, OpenAgentsError) and (again.code, again.field) == ("invalid_field", "port")
    async with server.joined("alice") as (alice,):
        response = await alice.workspace().channel("general").post("hello")
        assert pickle.loads(pickle.dumps(response)) == response
