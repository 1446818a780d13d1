"""`WorkerAgent`: hooks, contexts, decorator, helpers, starting and stopping."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest
from conftest import LIMIT, Journal, Server, server_binary, unique

import openagents.agents.worker_agent as worker_module
from openagents.agents import WorkerAgent
from openagents.agents.worker_agent import on_event
from openagents.errors import FileError, InvalidInputError, NotConnectedError, OpenAgentsError
from openagents.models.agent_config import AgentConfig
from openagents.models.event import Event
from openagents.models.event_context import (
    ChannelMessageContext,
    EventContext,
    FileContext,
    ReactionContext,
    ReplyMessageContext,
)


class Recorder(WorkerAgent):
    """Writes down every hook that is called."""

    metadata = {"name": "Recorder", "role": "worker"}
    capabilities = ["recording"]
    description = "Writes everything down"

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.journal = Journal()

    async def on_startup(self) -> None:
        await self.journal.write(("on_startup", self.client.is_connected))

    async def on_shutdown(self) -> None:
        response = await self.post_to_channel("general", f"{self.agent_id} says goodbye")
        await self.journal.write(("on_shutdown", response.success))

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        await self.journal.write(("on_channel_post", context))

    async def on_channel_mention(self, context: ChannelMessageContext) -> None:
        await self.journal.write(("on_channel_mention", context))

    async def on_channel_reply(self, context: ReplyMessageContext) -> None:
        await self.journal.write(("on_channel_reply", context))

    async def on_direct(self, context: EventContext) -> None:
        await self.journal.write(("on_direct", context))

    async def on_reaction(self, context: ReactionContext) -> None:
        await self.journal.write(("on_reaction", context))

    async def on_file_received(self, context: FileContext) -> None:
        await self.journal.write(("on_file_received", context))


class Started:
    """A recorder that works and another agent beside it, in a channel of their own."""

    def __init__(self, server: Server, agent: Recorder | None = None) -> None:
        self.server = server
        self.agent = agent or Recorder(unique("recorder"))

    async def __aenter__(self) -> Started:
        self.peer = await self.server.join(unique("peer"))
        self.channel = await self.peer.workspace().create_channel(unique("room"))
        await self.agent.async_start(network_host="127.0.0.1", network_port=self.server.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.async_stop()
        await self.peer.disconnect()

    async def next(self, count: int) -> tuple[str, Any]:
        entry: tuple[str, Any] = (await self.agent.journal.reaches(count))[count - 1]
        return entry


async def test_every_hook_is_called_with_its_context(server: Server, tmp_path: pathlib.Path) -> None:
    async with Started(server) as started:
        agent, peer, channel = started.agent, started.peer, started.channel
        assert await started.next(1) == ("on_startup", True)
        posted = await channel.post("hello", metadata={"mood": "fine"})
        name, context = await started.next(2)
        assert (name, context.text, context.channel) == ("on_channel_post", "hello", channel.name)
        assert (context.source_id, context.sender_id) == (peer.agent_id, peer.agent_id)
        assert (context.message_id, context.metadata) == (posted.data["message_id"], {"mood": "fine"})
        assert (context.agent_id, context.network_id) == (agent.agent_id, "workspace")

        await channel.post(f"@{agent.agent_id} and @somebody, look")
        name, context = await started.next(3)
        assert (name, context.mentioned_agent_id) == ("on_channel_mention", agent.agent_id)
        assert context.mentions == [agent.agent_id, "somebody"]

        await channel.reply(posted.data["message_id"], "a reply")
        name, context = await started.next(4)
        assert (name, context.parent_message_id, context.thread_depth) == (
            "on_channel_reply",
            posted.data["message_id"],
            1,
        )
        assert (context.channel, context.root_message_id) == (channel.name, posted.data["message_id"])
        reply_id = context.message_id
        await channel.reply(reply_id, "deeper")
        name, context = await started.next(5)
        assert (context.thread_depth, context.root_message_id) == (2, posted.data["message_id"])

        await peer.workspace().agent(agent.agent_id).send("directly")
        name, context = await started.next(6)
        assert (name, context.text) == ("on_direct", "directly")
        await peer.send_agent_message(agent.agent_id, {"text": "free"})
        name, context = await started.next(7)
        assert (name, context.text) == ("on_direct", "free")

        await channel.react(posted.data["message_id"], "👍")
        name, context = await started.next(8)
        assert (name, context.reaction, context.action) == ("on_reaction", "👍", "add")
        assert (context.message_id, context.source_id) == (posted.data["message_id"], peer.agent_id)

        table = tmp_path / "table.csv"
        table.write_text("a,b\n1,2\n")
        uploaded = await channel.upload_file(table)
        name, context = await started.next(9)
        assert (name, context.file_name, context.file_size) == ("on_file_received", "table.csv", 8)
        assert (context.file_id, context.channel) == (uploaded.data["file_id"], channel.name)
        assert (context.content_bytes, context.file_content) == (b"a,b\n1,2\n", "YSxiCjEsMgo=")
        path = pathlib.Path(context.file_path)
        assert path.suffix == ".csv" and path.read_text() == "a,b\n1,2\n" and "csv" in context.mime_type
        agent.journal.entries.clear()
        del context, name
        assert not path.exists()


async def test_own_messages_are_not_seen_unless_asked_for(server: Server) -> None:
    class Everything(Recorder):
        ignore_own_messages = False

    async with Started(server) as silent, Started(server, Everything(unique("loud"))) as loud:
        for started in (silent, loud):
            await started.agent.send_direct(started.agent.agent_id, "to myself")
            await started.peer.workspace().agent(started.agent.agent_id).send("to you")
        await loud.agent.journal.reaches(3)
        assert [context.text for _, context in loud.agent.journal.entries[1:]] == ["to myself", "to you"]
        await silent.agent.journal.reaches(2)
        assert [context.text for _, context in silent.agent.journal.entries[1:]] == ["to you"]


async def test_decorated_handlers_run_before_the_hooks_in_their_order(server: Server) -> None:
    class Watcher(Recorder):
        @on_event("custom.*")
        async def first(self, context: EventContext) -> None:
            await self.journal.write(("first", context.incoming_event.event_name))

        @on_event("custom.*")
        @on_event("direct.message.*")
        async def second(self, context: EventContext) -> None:
            await self.journal.write(("second", context.incoming_event.event_name))

        async def react(self, context: EventContext) -> None:
            await self.journal.write(("react", context.incoming_event.event_name))

        async def on_event(self, event: Event) -> None:
            await self.journal.write(("on_event", event.event_name))

    class Derived(Watcher):
        @on_event("*")
        async def third(self, context: EventContext) -> None:
            await self.journal.write(("third", context.incoming_event.event_name))

    async with Started(server, Derived(unique("watcher"))) as started:
        target = started.agent.agent_id
        await started.next(1)
        started.agent.journal.entries.clear()
        await started.peer.send_event(Event("custom.event", destination_id=f"agent:{target}"))
        await started.peer.workspace().agent(target).send("hello")
        await started.agent.journal.reaches(10)
        names = [name for name, _ in started.agent.journal.entries]
        assert names == ["first", "second", "third", "react", "on_event"] + [
            "second",
            "third",
            "react",
            "on_direct",
            "on_event",
        ]


def test_the_decorator_takes_async_methods_with_a_context_only() -> None:
    def plain(self: object, context: object) -> None: ...

    async def short(self: object) -> None: ...

    async def long(self: object, context: object, more: object) -> None: ...

    for method in (plain, short, long):
        with pytest.raises(ValueError, match=method.__name__):
            on_event("custom.*")(method)  # type: ignore[type-var]


async def test_a_failing_hook_is_logged_and_the_next_one_called(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        @on_event("custom.*")
        async def fails(self, context: EventContext) -> None:
            raise RuntimeError("as intended")

        async def on_event(self, event: Event) -> None:
            await self.journal.write(("on_event", event.event_name))

    async with Started(server, Failing(unique("failing"))) as started:
        await started.next(1)
        started.agent.journal.entries.clear()
        await started.peer.send_event(Event("custom.event", destination_id=f"agent:{started.agent.agent_id}"))
        assert await started.next(1) == ("on_event", "custom.event")
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 1 and "custom.*" in failures[0].getMessage()


async def test_the_helpers_do_what_they_say(server: Server, tmp_path: pathlib.Path) -> None:
    async with Started(server) as started:
        agent, peer, channel = started.agent, started.peer, started.channel
        assert (await agent.post_to_channel(f"#{channel.name}", text="by text")).success
        posted = await agent.post_to_channel(channel.name, content={"text": "by content"})
        assert (await agent.reply_to_message(channel.name, posted.data["message_id"], "a reply")).success
        assert (await agent.react_to_message(channel.name, posted.data["message_id"], "eyes", "add")).success
        assert (await agent.send_direct(peer.agent_id, "one")).success
        assert (await agent.send_direct(to=peer.agent_id, content={"text": "two"})).success
        assert (await agent.send_event(Event("custom.event", destination_id="channel:general"))).success
        page = await agent.get_channel_messages(channel.name, limit=2)
        assert ([m["text"] for m in page["messages"]], page["has_more"]) == (["a reply", "by content"], True)
        assert page["total_count"] == 3
        last = await agent.get_channel_messages(channel.name, limit=2, offset=2)
        assert (len(last["messages"]), last["total_count"], last["has_more"]) == (1, 3, False)
        direct = await agent.get_direct_messages(with_agent=peer.agent_id)
        assert (len(direct["messages"]), direct["total_count"], direct["has_more"]) == (2, 2, False)
        assert [m["text"] for m in await agent.get_recent_channel_messages(channel.name, count=1)] == ["a reply"]
        assert [m["text"] for m in await agent.get_recent_direct_messages(peer.agent_id, count=1)] == ["two"]
        found = await agent.find_messages_by_sender(f"#{channel.name}", agent.agent_id, limit=10)
        assert len(found) == 3
        assert await agent.find_messages_by_sender(peer.agent_id, peer.agent_id) == []
        note = tmp_path / "note.txt"
        note.write_text("note")
        file_id = await agent.upload_file(channel.name, note, filename="renamed.txt")
        assert file_id is not None and (await agent.workspace().get_file(file_id))["name"] == "renamed.txt"
        assert channel.name in await agent.get_channel_list() and peer.agent_id in await agent.get_agent_list()
        assert agent.is_mentioned(f"hi @{agent.agent_id}!") and not agent.is_mentioned("hi @other")
        assert agent.extract_mentions("@a, mail b@c.org, @d-1.") == ["a", "d-1"]
        assert await agent.has_permission("post_messages") in (True, False)
        ran = asyncio.Event()

        async def later() -> None:
            ran.set()

        task = await agent.schedule_task(0.0, later)
        await task
        assert ran.is_set()
        forever = await agent.schedule_task(1000.0, later)
    assert forever.cancelled()


async def test_others_see_what_the_class_says(server: Server) -> None:
    class Joining(Recorder):
        default_agent_id = unique("joining")
        default_channels = [f"#{unique('made')}", "general"]

    agent = Joining(Joining.default_agent_id)
    async with Started(server, agent) as started:
        info = await started.peer.workspace().agent(agent.agent_id).get_agent_info()
        assert info["metadata"] == {
            "name": "Recorder",
            "role": "worker",
            "description": "Writes everything down",
            "capabilities": ["recording"],
        }
        assert Joining.default_channels[0].strip("#") in await started.peer.workspace().channels()
    assert agent.journal.entries[-1] == ("on_shutdown", True)


def test_ids_come_from_the_call_the_class_or_its_name() -> None:
    class PlainHelper(WorkerAgent): ...

    class Named(WorkerAgent):
        default_agent_id = "named"

    assert (PlainHelper().agent_id, Named().agent_id, Named("given").agent_id) == ("plainhelper", "named", "given")
    assert "PlainHelper 'plainhelper', not connected" in repr(PlainHelper())
    assert (WorkerAgent.ignore_own_messages, WorkerAgent.auto_join_projects) == (True, False)
    assert (WorkerAgent.max_concurrent_projects, WorkerAgent.project_completion_timeout) == (3, 3600)
    config = AgentConfig(model_name="some-model", api_key="secret")
    assert Named(agent_config=config).agent_config is config and "secret" not in repr(config)
    for name in ["EventContext", "ChannelMessageContext", "ReplyMessageContext", "ReactionContext", "FileContext"]:
        assert hasattr(worker_module, name)


async def test_a_master_hands_work_to_a_worker_by_mention(server: Server) -> None:
    class Master(WorkerAgent):
        async def on_channel_post(self, context: ChannelMessageContext) -> None:
            if context.text.startswith("please"):
                await self.post_to_channel(context.channel, f"@{worker.agent_id} {context.text}")

    class Worker(WorkerAgent):
        async def on_channel_mention(self, context: ChannelMessageContext) -> None:
            await self.reply_to_message(context.channel, context.message_id, "done: " + context.text)

    master, worker = Master(unique("master")), Worker(unique("worker"))
    async with server.joined("ana") as (ana,):
        await master.start("127.0.0.1", server.port, metadata={"role": "master"})
        await worker.start(network_host="127.0.0.1", network_port=server.port, metadata={"role": "worker"})
        await ana.workspace().channel("general").post("please count")
        answer = await ana.wait_event(lambda event: event.text.startswith("done: "))
        assert answer is not None and answer.source_id == worker.agent_id
        await asyncio.gather(master.async_stop(), worker.async_stop())


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "grpc://127.0.0.1:{}"])
async def test_a_worker_is_started_by_url_inside_a_loop(server: Server, form: str) -> None:
    agent = Recorder(unique("recorder"))
    await agent.async_start(url=form.format(server.port))
    assert agent.client.is_connected
    waiting = asyncio.ensure_future(agent.wait_for_stop())
    await agent.stop()
    await waiting
    assert not agent.client.is_connected and agent.journal.entries[-1] == ("on_shutdown", True)


async def test_a_worker_that_cannot_join_says_why(server: Server) -> None:
    agent = Recorder(unique("recorder"))
    with pytest.raises(NotConnectedError) as caught:
        await agent.async_start("127.0.0.1", 1)
    assert caught.value.code == "unreachable"
    for url in ["openagents://name", "ftp://host"]:
        with pytest.raises(InvalidInputError):
            await agent.async_start(url=url)


def test_a_worker_runs_outside_any_loop_until_it_is_stopped(server: Server) -> None:
    class Stopping(Recorder):
        async def on_direct(self, context: EventContext) -> None:
            await self.send_direct(context.source_id, f"on {threading.current_thread().name}")
            if context.text == "stop":
                self.stop()

    agent = Stopping(unique("stopping"))
    with pytest.raises(OpenAgentsError):
        agent.start("127.0.0.1", 1)
    agent.start(network_host="127.0.0.1", network_port=server.port)
    assert agent.client.is_connected
    with pytest.raises(RuntimeError, match="started already"):
        agent.start("127.0.0.1", server.port)

    async def talk() -> None:
        async with server.joined("ana") as (ana,):
            peer = ana.workspace().agent(agent.agent_id)
            answer = await peer.send_and_wait("hello")
            assert answer is not None and answer["text"] == "on openagents-worker"
            await peer.send_and_wait("stop")

    asyncio.run(talk())
    agent.wait_for_stop()
    assert not agent.client.is_connected and agent.journal.entries[-1] == ("on_shutdown", True)
    agent.start("127.0.0.1", server.port)
    agent.stop()
    agent.stop()


async def test_a_worker_stops_for_ctrl_c_and_at_the_end_of_the_program(server: Server) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        from openagents.agents import WorkerAgent

        class Agent(WorkerAgent):
            async def on_startup(self):
                await self.post_to_channel("general", f"{self.agent_id} is here")

            async def on_shutdown(self):
                await self.post_to_channel("general", f"{self.agent_id} leaves")

            async def _until_stopped(self):
                # By now the main thread waits.
                os.kill(os.getpid(), signal.SIGINT)
                await super()._until_stopped()

        agent = Agent(sys.argv[1])
        agent.start(network_host="127.0.0.1", network_port=int(sys.argv[2]))
        if sys.argv[3] == "signal":
            agent.wait_for_stop()
        """
    )
    async with server.joined("ana") as (ana,):
        for ending in ("signal", "end"):
            name = unique("program")
            leaving = asyncio.create_task(
                ana.wait_event(lambda event, name=name: event.text == f"{name} leaves", timeout=LIMIT)  # type: ignore[misc]
            )
            running = await asyncio.create_subprocess_exec(
                *[sys.executable, "-Xdev", "-Werror", "-c", program, name, str(server.port), ending],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            output, errors = await asyncio.wait_for(running.communicate(), LIMIT)
            assert (running.returncode, output.decode(), errors.decode()) == (0, "", "")
            assert await leaving is not None


class Counter(WorkerAgent):
    """Writes down what it was asked, and waits for the gate at the first."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.journal, self.begun, self.gate = Journal(), asyncio.Event(), asyncio.Event()

    async def on_direct(self, context: EventContext) -> None:
        self.begun.set()
        await self.gate.wait()
        await self.journal.write(context.text)


async def test_what_was_queued_when_an_agent_stops_comes_at_its_next_start_and_nothing_twice(server: Server) -> None:
    async with server.joined("ana") as (ana,):
        agent = Counter(unique("counter"))
        await agent.async_start("127.0.0.1", server.port)
        for number in range(50):
            await ana.workspace().agent(agent.agent_id).send(str(number))
        await agent.begun.wait()
        stopping = asyncio.create_task(agent.async_stop())
        await asyncio.sleep(0)
        await ana.workspace().agent(agent.agent_id).send("50")
        agent.gate.set()
        await stopping
        assert agent.journal.entries == ["0"]
        await agent.async_start("127.0.0.1", server.port)
        assert await agent.journal.reaches(51) == [str(number) for number in range(51)]
        await agent.async_stop()
        # Another one under its id begins where it was.
        other = Counter(agent.agent_id)
        other.gate.set()
        await other.async_start("127.0.0.1", server.port)
        await ana.workspace().agent(agent.agent_id).send("51")
        assert await other.journal.reaches(1) == ["51"]
        await other.async_stop()


async def test_a_hook_that_does_not_return_in_time_is_cancelled_and_its_event_comes_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    class Hurried(Counter):
        shutdown_grace = 0.01

    async with server.joined("ana") as (ana,):
        agent = Hurried(unique("hurried"))
        await agent.async_start("127.0.0.1", server.port)
        await ana.workspace().agent(agent.agent_id).send("0")
        await agent.begun.wait()
        await agent.async_stop()
        assert "1 hooks did not return in time" in caplog.text and agent.journal.entries == []
        agent.gate.set()
        await agent.async_start("127.0.0.1", server.port)
        assert await agent.journal.reaches(1) == ["0"]
        await agent.async_stop()


async def test_a_hook_may_stop_its_agent_and_what_it_handles_is_handled(server: Server) -> None:
    class Stopping(Counter):
        async def on_direct(self, context: EventContext) -> None:
            await self.stop()
            await self.async_stop()
            await self.journal.write(context.text)

        async def on_shutdown(self) -> None:
            await self.stop()

    async with server.joined("ana") as (ana,):
        agent = Stopping(unique("stopping"))
        await agent.async_start("127.0.0.1", server.port)
        with pytest.raises(RuntimeError, match="started already"):
            await agent.async_start("127.0.0.1", server.port)
        await ana.workspace().agent(agent.agent_id).send("0")
        await agent.wait_for_stop()
        assert agent.journal.entries == ["0"]
        await agent.async_start("127.0.0.1", server.port)
        await ana.workspace().agent(agent.agent_id).send("1")
        await agent.wait_for_stop()
        assert agent.journal.entries == ["0", "1"]


async def test_what_comes_before_an_agent_is_ready_waits_and_is_not_lost_when_it_never_is(server: Server) -> None:
    joined = asyncio.Event()

    class Slow(Counter):
        async def on_startup(self) -> None:
            joined.set()
            await self.begun.wait()

    async with server.joined("ana") as (ana,):
        agent = Slow(unique("slow"))
        agent.gate.set()
        starting = asyncio.create_task(agent.async_start("127.0.0.1", server.port))
        await joined.wait()
        await ana.workspace().agent(agent.agent_id).send("early")
        await agent.async_stop()
        agent.begun.set()
        await starting
        assert agent.journal.entries == []
        await agent.async_start("127.0.0.1", server.port)
        assert await agent.journal.reaches(1) == ["early"]
        await agent.async_stop()


async def test_an_agent_learns_what_happens_to_itself(server: Server) -> None:
    class Curious(Recorder):
        async def on_event(self, event: Event) -> None:
            await self.journal.write((event.event_name, event))

    async with Started(server, Curious(unique("curious"))) as started:
        await started.next(1)
        started.agent.journal.entries.clear()
        # Of its own events the messages, reactions and files are passed over, and nothing else.
        own = f"agent:{started.agent.agent_id}"
        await started.agent.send_direct(started.agent.agent_id, "to myself")
        await started.agent.send_event(Event("custom.event", destination_id=own))
        name, event = await started.next(1)
        assert (name, event.source_id) == ("custom.event", started.agent.agent_id)


async def test_a_file_that_is_too_large_is_not_fetched(server: Server, tmp_path: pathlib.Path) -> None:
    class Frugal(Recorder):
        max_file_bytes = 3

    async with Started(server, Frugal(unique("frugal"))) as started:
        await started.next(1)
        for size in (4, 3):
            (tmp_path / "file").write_bytes(b"x" * size)
            await started.channel.upload_file(tmp_path / "file")
        name, large = await started.next(2)
        assert (name, large.file_size) == ("on_file_received", 4)
        with pytest.raises(FileError) as caught:
            large.content_bytes
        assert caught.value.code == "too_large"
        assert (await started.next(3))[1].content_bytes == b"xxx"


def test_an_agent_with_a_thread_of_its_own_is_stopped_from_a_loop(server: Server) -> None:
    agent = Recorder(unique("threaded"))
    agent.start("127.0.0.1", server.port)

    async def end() -> None:
        waiting = asyncio.ensure_future(agent.wait_for_stop())
        await asyncio.sleep(0)
        await agent.stop()
        await waiting

    asyncio.run(end())
    assert not agent.client.is_connected and agent.journal.entries[-1] == ("on_shutdown", True)
    agent.start("127.0.0.1", server.port)
    asyncio.run(agent.async_stop())
    assert not agent.client.is_connected


async def test_a_worker_whose_session_ends_for_good_stops_waiting(serve: Any, tmp_path: pathlib.Path) -> None:
    first = serve()
    first.stop()
    command = [server_binary(), "token", "create", "--agent", "recorder", "--data", str(tmp_path / "data")]
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    server = serve()
    agent = Recorder("recorder")
    await agent.async_start("127.0.0.1", server.port, token=token)
    waiting = asyncio.ensure_future(agent.wait_for_stop())
    # Whoever shows the token of an agent takes its place.
    newcomer = await server.join("recorder", token=token)
    await waiting
    assert not agent.client.is_connected
    await newcomer.disconnect()
    await agent.async_stop()
