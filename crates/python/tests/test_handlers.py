"""Handlers, streams and calls on loops and threads: order, failure, cancellation, acknowledgement."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import pathlib
import subprocess
import threading
from typing import Any

import pytest
from conftest import LIMIT, Journal, Server, server_binary, unique

from openagents.errors import InvalidInputError, RefusedError
from openagents.models.event import Event
from openagents.sdk.client import AgentClient


async def test_events_of_one_source_are_in_order_and_sources_do_not_wait_for_each_other(server: Server) -> None:
    async with server.joined("alice", "slow", "bob") as (alice, slow, bob):
        journal, gate = Journal(), asyncio.Event()

        async def handle(event: Event) -> None:
            if event.source_id == slow.agent_id:
                await gate.wait()
            await journal.write((event.source_id, event.payload["n"]))

        bob.register_event_handler(handle, ["custom.*"])

        async def send(sender: AgentClient, count: int) -> None:
            for number in range(count):
                event = Event("custom.number", destination_id=f"agent:{bob.agent_id}", payload={"n": number})
                assert (await sender.send_event(event)).success

        await asyncio.gather(send(slow, 3), send(alice, 300))
        assert await journal.reaches(300) == [(alice.agent_id, number) for number in range(300)]
        gate.set()
        assert (await journal.reaches(303))[300:] == [(slow.agent_id, number) for number in range(3)]


async def test_several_handlers_run_in_the_order_of_registration_until_unregistered(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        entries: list[str] = []
        journal = Journal()

        async def first(event: Event) -> str:
            await asyncio.sleep(0)
            entries.append(f"first {event.payload['n']}")
            return "what is returned is ignored"

        def second(event: Event) -> None:
            entries.append(f"second {event.payload['n']}")

        class Third:
            async def method(self, event: Event) -> None:
                entries.append(f"third {event.payload['n']}")

        third = Third()
        bob.register_event_handler(first, ["custom.*", "*"])
        bob.register_event_handler(second, event_patterns="custom.number")
        await bob.subscribe("custom.*", third.method)
        bob.register_event_handler(journal.write, ["custom.*"])

        async def send(number: int) -> None:
            await alice.send_event(
                Event("custom.number", destination_id=f"agent:{bob.agent_id}", payload={"n": number})
            )
            await journal.reaches(number + 1)

        await send(0)
        assert entries == ["first 0", "second 0", "third 0"]
        assert bob.unregister_event_handler(second) and bob.unregister_event_handler(third.method)
        assert not bob.unregister_event_handler(second)
        await send(1)
        assert entries[3:] == ["first 1"]
        with pytest.raises(InvalidInputError):
            bob.register_event_handler("no function")  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            bob.register_event_handler(first, [""])


async def test_a_handler_that_fails_is_logged_and_stops_nobody(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()

        async def fails(event: Event) -> None:
            raise LookupError(event.payload["n"])

        async def fails_later(event: Event) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError

        for handler in (fails, fails_later, journal.write):
            bob.register_event_handler(handler, "custom.*")
        for number in range(2):
            await alice.send_event(
                Event("custom.number", destination_id=f"agent:{bob.agent_id}", payload={"n": number})
            )
        await journal.reaches(2)
        failed = [record for record in caplog.records if "a handler failed" in record.getMessage()]
        assert len(failed) == 4 and all(record.levelno == logging.ERROR for record in failed)
        assert "custom.number" in failed[0].getMessage() and "fails" in failed[0].getMessage()
        assert [record.exc_info[0] for record in failed if record.exc_info] == [LookupError, ZeroDivisionError] * 2


async def test_what_a_handler_sends_is_linked_also_from_tasks_it_starts(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()
        alice.register_event_handler(journal.write, ["direct.*"])

        async def answer(event: Event) -> None:
            peer = bob.workspace().agent(event.source_id)
            await peer.send("directly")
            await asyncio.create_task(peer.send("from a task"))

        bob.register_event_handler(answer, ["custom.*"])
        question = Event("custom.question", destination_id=f"agent:{bob.agent_id}")
        await alice.send_event(question)
        assert [event.response_to for event in await journal.reaches(2)] == [question.id, question.id]
        await bob.workspace().agent(alice.agent_id).send("on its own")
        assert (await journal.reaches(3))[2].response_to is None


async def test_context_variables_do_not_leak_from_event_to_event(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
        variable.set("as registered")
        journal = Journal()

        async def handle(event: Event) -> None:
            before = variable.get()
            variable.set(event.id)
            await asyncio.sleep(0)
            assert variable.get() == event.id
            await journal.write(before)

        bob.register_event_handler(handle, "custom.*")
        variable.set("changed later")
        for _ in range(3):
            await alice.send_event(Event("custom.event", destination_id=f"agent:{bob.agent_id}"))
        assert await journal.reaches(3) == ["as registered"] * 3


async def test_handlers_use_timeouts_and_tasks_as_any_coroutine(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()

        async def handle(event: Event) -> None:
            task = asyncio.current_task()
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)
            except asyncio.TimeoutError:
                await journal.write(("timed out", task is asyncio.current_task()))

        bob.register_event_handler(handle, "custom.*")
        await alice.send_event(Event("custom.event", destination_id=f"agent:{bob.agent_id}"))
        assert await journal.reaches(1) == [("timed out", True)]


async def test_a_cancelled_handler_ends_alone_and_the_rest_goes_on(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()

        async def handle(event: Event) -> None:
            if event.payload["n"] == 0:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            await journal.write(event.payload["n"])

        bob.register_event_handler(handle, "custom.*")
        for number in range(3):
            await alice.send_event(
                Event("custom.event", destination_id=f"agent:{bob.agent_id}", payload={"n": number})
            )
        assert await journal.reaches(2) == [1, 2]


async def test_a_cancelled_call_ends_at_once_and_its_answer_is_nobodys(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        peer = alice.workspace().agent(bob.agent_id)
        calls = [
            peer.send_and_wait("?", timeout=None),
            peer.wait_for_message(timeout=None),
            alice.wait_event(lambda event: False, timeout=None),
            alice.workspace().channel("general").wait_for_post(timeout=None),
        ]
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(alice.wait_event(lambda event: False, timeout=None), 0.01)
        assert (await peer.send("still here")).success


async def test_streams_yield_what_matches_and_end_with_the_connection(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        async with bob.events("custom.*") as narrow:
            everything = bob.events()
            for number in range(3):
                await alice.send_event(
                    Event("custom.event", destination_id=f"agent:{bob.agent_id}", payload={"n": number})
                )
            await alice.send_event(Event("other.event", destination_id=f"agent:{bob.agent_id}"))
            numbers = []
            async for event in narrow:
                numbers.append(event.payload["n"])
                if len(numbers) == 3:
                    break
        assert numbers == [0, 1, 2]
        seen = [(await everything.__anext__()).event_name for _ in range(4)]
        assert seen == ["custom.event"] * 3 + ["other.event"]
        with pytest.raises(StopAsyncIteration):
            await narrow.__anext__()
        assert await bob.disconnect()
        assert [event async for event in everything] == []


async def test_what_was_not_handled_comes_again_and_what_was_does_not(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        bob = await server.join(unique("bob"))
        handled, stuck = Journal(), asyncio.Event()

        async def handle(event: Event) -> None:
            if event.payload["n"] == 2:
                stuck.set()
                await asyncio.Event().wait()
            await handled.write(event.payload["n"])

        bob.register_event_handler(handle, "custom.*")
        for number in range(5):
            await alice.send_event(
                Event("custom.event", destination_id=f"agent:{bob.agent_id}", payload={"n": number})
            )
        await stuck.wait()
        await bob.disconnect()
        again = AgentClient(bob.agent_id)
        rest = Journal()
        again.register_event_handler(rest.write, "custom.*")
        assert await again.connect_to_server("127.0.0.1", server.port)
        assert [event.payload["n"] for event in await rest.reaches(3)] == [2, 3, 4]
        assert handled.entries == [0, 1]
        await again.disconnect()


async def test_a_drained_client_begins_nothing_and_can_still_talk(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        bob = await server.join(unique("bob"))
        handled, begun, gate = Journal(), asyncio.Event(), asyncio.Event()

        async def handle(event: Event) -> None:
            begun.set()
            await gate.wait()
            await handled.write(event.payload["n"])

        async def answer(event: Event) -> None:
            await alice.workspace().agent(event.source_id).send("an answer")

        bob.register_event_handler(handle, "custom.*")
        alice.register_event_handler(answer, "direct.*")

        async def send(number: int) -> None:
            await alice.send_event(
                Event("custom.event", destination_id=f"agent:{bob.agent_id}", payload={"n": number})
            )

        for number in range(3):
            await send(number)
        await begun.wait()
        draining = asyncio.create_task(bob.drain())
        await asyncio.sleep(0)
        await send(3)
        gate.set()
        await draining
        late = Journal()
        bob.register_event_handler(late.write, "custom.*")
        answered = await bob.workspace().agent(alice.agent_id).send_and_wait("?", timeout=LIMIT)
        assert answered is not None and answered["text"] == "an answer"
        assert (handled.entries, late.entries) == ([0], [])
        bob.unregister_event_handler(late.write)
        assert await bob.connect_to_server("127.0.0.1", server.port)
        assert await handled.reaches(4) == [0, 1, 2, 3]
        await bob.disconnect()


async def test_what_waits_for_a_handler_that_is_unregistered_counts_as_handled(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        begun, gate, journal = asyncio.Event(), asyncio.Event(), Journal()

        async def handle(event: Event) -> None:
            begun.set()
            await gate.wait()

        def events(name: str, count: int) -> list[Event]:
            return [Event(name, destination_id=f"agent:{bob.agent_id}", payload={"n": n}) for n in range(count)]

        bob.register_event_handler(handle, "custom.first")
        await alice.send_events(events("custom.first", 1000))
        await begun.wait()
        assert bob.unregister_event_handler(handle)
        gate.set()
        # More than may be under way at once: nothing of the first holds it up.
        bob.register_event_handler(journal.write, "custom.second")
        assert all(await alice.send_events(events("custom.second", 2000)))
        assert len(await journal.reaches(2000)) == 2000


async def test_a_session_that_is_over_says_why(serve: Any, tmp_path: pathlib.Path) -> None:
    first = serve()
    first.stop()
    command = [server_binary(), "token", "create", "--agent", "bob", "--data", str(tmp_path / "data")]
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    server = serve()
    bob = await server.join("bob", token=token)
    waiting = asyncio.create_task(bob.closed())
    await asyncio.sleep(0)
    newcomer = await server.join("bob", token=token)
    reason = await waiting
    assert isinstance(reason, RefusedError) and reason.code == "session_replaced"
    waiting = asyncio.create_task(newcomer.closed())
    await asyncio.sleep(0)
    await newcomer.disconnect()
    assert await waiting is None and await newcomer.closed() is None


async def test_the_backlog_is_what_was_asked_for(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        channel = alice.workspace().channel("general")

        async def seen(name: str, **options: Any) -> list[str]:
            """What a bob that was away for five posts gets until the next one."""
            bob = await server.join(name)
            bob.register_event_handler(lambda event: None)
            await bob.disconnect()
            for number in range(5):
                await channel.post(str(number))
            journal = Journal()
            bob = AgentClient(name)
            bob.register_event_handler(journal.write, "channel.message.posted")
            assert await bob.connect_to_server("127.0.0.1", server.port, **options)
            await channel.post("last")
            while "last" not in [event.text for event in journal.entries]:
                await journal.reaches(len(journal.entries) + 1)
            assert bob.head is not None and journal.entries[-1].sequence <= bob.head
            await bob.disconnect()
            return [event.text for event in journal.entries]

        everything = ["0", "1", "2", "3", "4", "last"]
        assert await seen(unique("bob"), backlog="all") == everything
        assert await seen(unique("bob"), backlog="none") == ["last"]
        assert await seen(unique("bob"), backlog={"max_events": 2}) == ["3", "4", "last"]
        for options in ({"backlog": "some"}, {"backlog": {"max_events": -1}}, {"after": -1}):
            with pytest.raises(InvalidInputError):
                await AgentClient("me").connect_to_server("127.0.0.1", server.port, **options)  # type: ignore[arg-type]


async def test_a_watching_client_is_not_there(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        watcher = await server.join(bob.agent_id, watching=True)
        journal = Journal()
        watcher.register_event_handler(journal.write, "direct.*")
        bob.register_event_handler(journal.write, "direct.*")
        await alice.workspace().agent(bob.agent_id).send("to both")
        assert [event.text for event in await journal.reaches(2)] == ["to both"] * 2
        await watcher.disconnect()
        assert bob.agent_id in await alice.workspace().agents()


async def test_a_restarted_server_is_found_again_and_nothing_is_lost(serve: Any) -> None:
    first = serve("--durability", "os")
    bob = await first.join("bob")
    journal = Journal()
    bob.register_event_handler(journal.write, "custom.*")
    alice = await first.join("alice")
    await alice.send_event(Event("custom.event", destination_id="agent:bob", payload={"n": 0}))
    await journal.reaches(1)
    first.stop()
    sending = asyncio.create_task(
        alice.send_event(Event("custom.event", destination_id="agent:bob", payload={"n": 1}))
    )
    second = serve("--durability", "os", "--port", str(first.port))
    assert second.port == first.port
    assert (await sending).success
    assert [event.payload["n"] for event in await journal.reaches(2)] == [0, 1]
    assert alice.is_connected and bob.is_connected
    await asyncio.gather(alice.disconnect(), bob.disconnect())


async def test_a_client_with_handlers_lives_until_it_is_disconnected(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        journal, name = Journal(), unique("bob")

        async def begin() -> None:
            client = AgentClient(name)
            client.register_event_handler(journal.write, "custom.*")
            assert await client.connect_to_server("127.0.0.1", server.port)

        await begin()
        await alice.send_event(Event("custom.event", destination_id=f"agent:{name}"))
        await journal.reaches(1)


async def test_calls_reach_the_wire_in_the_order_they_are_made(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        channel = await alice.workspace().create_channel(unique("order"))
        await asyncio.gather(*(channel.post(str(number)) for number in range(200)))
        messages = await channel.get_messages(limit=200)
        assert [message["text"] for message in reversed(messages)] == [str(number) for number in range(200)]


def test_one_client_serves_several_loops_and_threads(server: Server) -> None:
    client = AgentClient(unique("shared"))
    seen: dict[str, list[int]] = {"home": [], "away": []}
    ready, done = threading.Barrier(2), threading.Barrier(2)

    def handler(name: str, finished: asyncio.Event) -> Any:
        thread = threading.get_ident()

        async def handle(event: Event) -> None:
            assert threading.get_ident() == thread
            seen[name].append(event.payload["n"])
            if len(seen[name]) == 50:
                finished.set()

        return handle

    async def away() -> None:
        finished = asyncio.Event()
        client.register_event_handler(handler("away", finished), "custom.*")
        await asyncio.to_thread(ready.wait)
        assert "general" in await client.workspace().channels()
        await finished.wait()
        await asyncio.to_thread(done.wait)

    async def home() -> None:
        finished = asyncio.Event()
        client.register_event_handler(handler("home", finished), "custom.*")
        assert await client.connect_to_server("127.0.0.1", server.port)
        await asyncio.to_thread(ready.wait)
        sender = await server.join(unique("sender"))
        for number in range(50):
            await sender.send_event(
                Event("custom.event", destination_id=f"agent:{client.agent_id}", payload={"n": number})
            )
        await finished.wait()
        await asyncio.to_thread(done.wait)
        await sender.disconnect()
        await client.disconnect()

    thread = threading.Thread(target=lambda: asyncio.run(away()))
    thread.start()
    asyncio.run(home())
    thread.join()
    assert seen == {"home": list(range(50)), "away": list(range(50))}


def test_a_client_goes_on_in_the_next_loop(server: Server) -> None:
    client, seen = AgentClient(unique("me")), []

    async def begin() -> None:
        client.register_event_handler(lambda event: seen.append(event.payload["n"]), "custom.*")
        assert await client.connect_to_server("127.0.0.1", server.port)

    async def go_on() -> None:
        assert client.is_connected and "general" in await client.workspace().channels()
        assert await client.connect_to_server("127.0.0.1", server.port)
        event = Event("custom.event", destination_id=f"agent:{client.agent_id}", payload={"n": 1})
        found = asyncio.create_task(client.wait_event(lambda e: e.id == event.id))
        await asyncio.sleep(0)
        assert (await client.send_event(event)).success
        assert (await found) is not None
        await client.disconnect()

    asyncio.run(begin())
    asyncio.run(go_on())
    assert seen == [1]
