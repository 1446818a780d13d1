"""Every program of `examples/python` does what it says, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import pathlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import LIMIT, ROOT, Server, server_binary

from openagents.agents import WorkerAgent
from openagents.models.event import Event
from openagents.sdk.client import AgentClient
from openagents.utils.password_utils import hash_password

FOLDER = ROOT / "examples" / "python"


@pytest.fixture(autouse=True)
def _programs_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def program(name: str) -> Any:
    return importlib.import_module(name)


class Stage:
    """A workspace with an agent `ana` in it."""

    def __init__(self, server: Server, ana: AgentClient) -> None:
        self.server = server
        self.port = server.port
        self.ana = ana
        self.general = ana.workspace().channel("general")

    async def hears(self, condition: Callable[[Event], object]) -> Event:
        event = await self.ana.wait_event(condition, timeout=LIMIT)
        assert event is not None
        return event

    async def hears_text(self, text: str) -> Event:
        return await self.hears(lambda event: event.text == text)

    @asynccontextmanager
    async def running(self, coroutine: Coroutine[Any, Any, object], *agents: str) -> AsyncIterator[None]:
        """Runs a program that has no end of its own, once its agents are here."""
        joined = asyncio.gather(*(self._joins(agent) for agent in agents))
        await asyncio.sleep(0)
        task = asyncio.ensure_future(coroutine)
        await joined
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _joins(self, agent: str) -> None:
        await self.hears(
            lambda event: event.event_name == "agent.joined" and event.payload["agent_id"] == agent
        )

    @asynccontextmanager
    async def working(self, *agents: WorkerAgent) -> AsyncIterator[None]:
        for agent in agents:
            await agent.async_start("127.0.0.1", self.port)
        try:
            yield
        finally:
            await asyncio.gather(*(agent.async_stop() for agent in agents))


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@asynccontextmanager
async def stage(server: Server) -> AsyncIterator[Stage]:
    ana = await server.join("ana")
    try:
        yield Stage(server, ana)
    finally:
        await ana.disconnect()


async def test_quickstart(server: Server) -> None:
    async with stage(server) as play:
        greeting = asyncio.create_task(play.hears_text("Demo agent connected!"))
        await asyncio.sleep(0)
        running = asyncio.create_task(program("quickstart").main("127.0.0.1", play.port))
        await greeting
        await play.general.post("Where is demo-agent?")
        assert (await play.hears_text("You called? I'm here!")).source_id == "demo-agent"
        await running
    with pytest.raises(SystemExit, match="unreachable"):
        await program("quickstart").main("127.0.0.1", 1)


async def test_client_api(server: Server) -> None:
    assert await program("client_api").main("127.0.0.1", server.port) == [
        "Agent joined: my-agent",
        "Channels: general",
        "Status: All fine",
        "Completed: data processing",
        "my-agent: My Agent",
        "other-bot: unnamed",
        "Connected",
    ]


async def test_first_agent(server: Server) -> None:
    async with stage(server) as play:
        async with play.working(program("first_agent").FirstAgent()):
            await play.hears_text("Hello! Write help and I am there.")
            reply = await play.general.post_and_wait("I need HELP")
            assert reply is not None and reply["text"] == "What can I do for you?"
            answer = await play.ana.workspace().agent("first-agent").send_and_wait("anybody?")
            assert answer is not None and answer["text"] == "You said: anybody?"
        await play.hears_text("Goodbye!")


async def test_file_watcher(server: Server, tmp_path: pathlib.Path) -> None:
    async with stage(server) as play:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            async with play.working(program("file_watcher").FileWatcher()):
                note = tmp_path / "note.txt"
                note.write_text("note")
                uploaded = await play.ana.workspace().upload_file(note)
                await play.ana.workspace().delete_file(uploaded["id"])
                # What is answered comes after what was handled before.
                await play.ana.send_event(Event("custom.last", destination_id="agent:file-watcher"))
    assert output.getvalue().split() == ["workspace.file.uploaded", "workspace.file.deleted"]


async def test_messaging(server: Server) -> None:
    assert await program("messaging").main("127.0.0.1", server.port) == [
        "Answer: Yes",
        "Post: Shipped",
        "writer: The build is green",
        "writer: ## Release\n\n- **fast**\n- `small`",
        "writer: Deployed",
        "writer: Thanks",
        "writer: Do we ship today?",
        "reader: Yes",
        "reader: Shipped",
    ]


async def test_collaboration(server: Server) -> None:
    async with stage(server) as play:
        async with play.running(program("collaboration").main("127.0.0.1", play.port), "worker", "master"):
            await play.general.post("count these four words")
            answer = await play.hears(lambda event: event.source_id == "worker" and event.text)
            assert answer.text == "That has 4 words"


async def test_new_workspace() -> None:
    assert await program("new_workspace").main(server_binary(), 0) == ["general"]


async def test_file_round_trip(server: Server) -> None:
    assert await program("file_round_trip").main("127.0.0.1", server.port) is True


async def test_monitor(server: Server, tmp_path: pathlib.Path) -> None:
    async with stage(server) as play:
        reports: asyncio.Queue[str] = asyncio.Queue()
        monitor = program("monitor").main("127.0.0.1", play.port, 0.01, reports.put_nowait)
        async with play.running(monitor, "monitor"):
            posted = await play.general.post("one")
            await play.general.react(posted.data["message_id"], "eyes")
            await play.ana.workspace().agent("monitor").send("two")
            note = tmp_path / "note.txt"
            note.write_text("note")
            await play.general.upload_file(note)
            wanted = "1 channel, 1 direct, 1 file, 1 reaction; 1 channels, 2 agents"
            while await reports.get() != wanted:
                pass


async def test_collaborator(server: Server) -> None:
    async with stage(server) as play:
        await play.general.post("@collaborator, are you there?")
        assert await program("collaborator").main("127.0.0.1", play.port) == 1
        assert (await play.hears_text("Here I am")).event_name == "channel.message.replied"
        assert "plans" in await play.ana.workspace().channels()
        assert [file["name"] for file in await play.ana.workspace().list_files()] == ["plan.txt"]


async def test_robust_client(serve: Callable[..., Server]) -> None:
    robust = program("robust_client")
    first = serve()
    assert await robust.main("127.0.0.1", first.port, checks=2, every=0) == 2
    first.stop()
    client = AgentClient("late")
    connecting = asyncio.create_task(robust.connect(client, "127.0.0.1", first.port, attempts=1000, first=0.01))
    await asyncio.sleep(0)
    again = serve("--port", str(first.port))
    await connecting
    assert client.is_connected and again.port == first.port
    await client.disconnect()


async def test_greeter(server: Server) -> None:
    async with stage(server) as play:
        hello = asyncio.create_task(play.hears_text("Hello from the greeter!"))
        async with play.running(program("greeter").main("127.0.0.1", play.port), "greeter"):
            await hello
            newcomer = await server.join("newcomer")
            welcome = await newcomer.wait_event(lambda event: event.text == "Welcome, newcomer!", timeout=LIMIT)
            assert welcome is not None
            await newcomer.disconnect()


async def test_file_worker(server: Server, tmp_path: pathlib.Path) -> None:
    async with stage(server) as play:
        async with play.working(program("file_worker").FileWorker()):
            files = {"a.txt": "three small words", "b.csv": "x\n1\n", "c.json": '{"k": 1}'}
            for name, content in files.items():
                (tmp_path / name).write_text(content)
                await play.general.upload_file(tmp_path / name)
            for answer in ["a.txt: 3 words", "b.csv: 2 lines", "c.json: 1 keys"]:
                await play.hears_text(answer)


async def test_task_executor(server: Server) -> None:
    async with stage(server) as play:
        async with play.working(program("task_executor").TaskExecutor()):
            reply = await play.general.post_and_wait("task: sweep the floor")
            assert reply is not None and reply["text"] == "done: sweep the floor"
            answer = await play.ana.workspace().agent("task-executor").send_and_wait("wash up")
            assert answer is not None and answer["text"] == "done: wash up"


async def test_deduplicator(server: Server, tmp_path: pathlib.Path) -> None:
    notes = tmp_path / "notes"
    async with stage(server) as play:
        agent = program("deduplicator").Deduplicator(notes)
        async with play.working(agent):
            posted = await play.general.post("once")
            await play.ana.send_event(Event("custom.last", destination_id="agent:deduplicator"))
        event = Event("channel.message.posted", "ana", event_id=posted.data["event_id"])
        again = program("deduplicator").Deduplicator(notes)
        from openagents.models.event_context import ChannelMessageContext

        await again.on_channel_post(ChannelMessageContext(event))
    assert notes.read_text().split() == [posted.data["event_id"]]


async def test_work_flow(server: Server, tmp_path: pathlib.Path) -> None:
    flow = program("work_flow")
    async with stage(server) as play:
        async with play.working(flow.Reporter(), flow.Processor()):
            data = tmp_path / "data.bin"
            data.write_bytes(b"x" * 123)
            await play.general.upload_file(data)
            await play.hears_text("data.bin has 123 bytes")
            votes = [
                Event("poll.vote", destination_id="agent:reporter", payload={"option": option})
                for option in ["tea", "coffee", "tea", "tea", "water"]
            ]
            assert all(await play.ana.send_events(votes))
            await play.hears_text("tea wins with 3 of 5")


async def test_router(server: Server) -> None:
    async with stage(server) as play:
        team = program("router").main("127.0.0.1", play.port)
        async with play.running(team, "researcher", "analyst", "router"):
            reply = await play.general.post_and_wait("please find out")
            assert reply is not None and reply["text"] == "researcher: found 3 sources for 'please find out'"
            reply = await play.general.post_and_wait("compare a b")
            assert reply is not None and reply["text"] == "analyst: 3 things compared"


async def test_news_room(server: Server) -> None:
    async with stage(server) as play:
        room = program("news_room").main("127.0.0.1", play.port)
        async with play.running(room, "commentator", "guard"):
            assert (await play.hears_text("On 1: well said")).source_id == "commentator"
            for number in range(6):
                await play.general.post(f"ana has something to say {number}")
            assert (await play.hears_text("Slower, please")).source_id == "guard"


async def test_role_players(server: Server) -> None:
    async with stage(server) as play:
        cast = program("role_players").main("127.0.0.1", play.port)
        async with play.running(cast, "optimist", "pessimist"):
            await play.general.post("How is the weather?")
            lines = ["It will be sunny!", "It looks like rain.", "Then there will be a rainbow!"]
            for line in [*lines, "And after it, more rain."]:
                await play.hears_text(line)


async def test_groups(serve: Callable[..., Server], tmp_path: pathlib.Path) -> None:
    config = tmp_path / "network.yaml"
    config.write_text(
        f"""
network:
  name: Groups
  default_agent_group: guest
  agent_groups:
    moderators:
      password_hash: {hash_password("moderator-password")}
      metadata: {{permissions: [read_channels, post_messages, delete_posts]}}
    guest:
      metadata: {{permissions: [read_channels, post_messages]}}
"""
    )
    server = serve("--config", str(config))
    assert await program("groups").main("127.0.0.1", server.port) == [
        "guest may not delete posts",
        "moderator deleted a post",
    ]


async def test_language_model(server: Server) -> None:
    asked: list[list[dict[str, str]]] = []

    async def model(messages: list[dict[str, str]]) -> str:
        asked.append(messages)
        if "slow" in messages[-1]["content"]:
            await asyncio.Event().wait()
        return f"answer {len(asked)}"

    async with stage(server) as play:
        assistant = program("language_model").Assistant(model)
        async with play.working(assistant):
            await play.general.post("It is raining")
            reply = await play.general.post_and_wait("@assistant what is the weather?")
            assert reply is not None and reply["text"] == "answer 1"
            assert [message["content"] for message in asked[0][1:]] == [
                "ana: It is raining",
                "ana: @assistant what is the weather?",
            ]
            answer = await play.ana.workspace().agent("assistant").send_and_wait("directly")
            assert answer is not None and answer["text"] == "answer 2"
            assistant.limit = 0.01
            late = await play.ana.workspace().agent("assistant").send_and_wait("slow")
            assert late is not None and late["text"].startswith("I have to think")
    echoed = await program("language_model").echo([{"role": "user", "content": "hi"}])
    assert echoed == "You said: hi"


async def test_web_app(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setenv("WORKSPACE_HOST", "127.0.0.1")
    monkeypatch.setenv("WORKSPACE_PORT", str(server.port))
    web_app = program("web_app")
    async with stage(server) as play, web_app.lifespan(web_app.app):

        async def answer(event: Event) -> None:
            await play.ana.workspace().agent(event.source_id).send(f"re: {event.text}")

        play.ana.register_event_handler(answer, ["direct.*"])
        transport = httpx.ASGITransport(app=web_app.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as browser:
            assert (await browser.get("/agents")).json() == ["ana", "web-app"]
            asked = await browser.post("/ask/ana", params={"question": "ready?"})
            assert asked.json() == {"agent": "ana", "answer": "re: ready?"}
            nobody = await browser.post("/ask/nobody", params={"question": "ready?"})
            assert nobody.status_code == 504


def test_every_program_is_tested_listed_and_starts() -> None:
    names = {path.stem for path in FOLDER.glob("*.py")}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert names <= tested
    listed = (FOLDER / "README.md").read_text()
    assert all(f"`{name}.py`" in listed for name in names)
    for name in sorted(names - {"web_app"}):
        # Whoever runs it without a workspace is told so in one sentence at the end, not left alone.
        source = (FOLDER / f"{name}.py").read_text()
        assert source.startswith('"""') and '__name__ == "__main__"' in source


def test_a_worker_program_without_a_workspace_says_why() -> None:
    source = (FOLDER / "first_agent.py").read_text().replace("8700", "1")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1 and done.stderr.strip().endswith("[unreachable]"), done.stderr
