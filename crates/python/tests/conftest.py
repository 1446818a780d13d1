"""What the tests share: a real server, clients that have joined, and a limit for everything."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import pathlib
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from openagents.sdk.client import AgentClient

# Longer than anything here takes; a test that gets here has failed.
LIMIT = 30.0

# The same for tests that take minutes.
SOAK_LIMIT = 1200.0

ROOT = pathlib.Path(__file__).resolve().parents[3]

_numbers = itertools.count(1)


def server_binary() -> str:
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    return os.environ.get("OPENAGENTS_TEST_SERVER", os.path.join(target, "debug", "openagents"))


class Server:
    """A workspace that is served by a process of its own."""

    def __init__(self, data: pathlib.Path, *options: str) -> None:
        defaults = {"--port": "0", "--data": str(data), "--durability": "memory"}
        given = [part for name, value in defaults.items() if name not in options for part in (name, value)]
        command = [server_binary(), "serve", *given]
        self._log = (data.parent / f"{data.name}.log").open("w")
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready "), (data.parent / f"{data.name}.log").read_text()
        self.port = int(line.rsplit(":", 1)[1])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=LIMIT)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    async def join(self, agent_id: str | None = None, **options: Any) -> AgentClient:
        """A client that has joined."""
        client = AgentClient(agent_id or unique("agent"))
        assert await client.connect_to_server("127.0.0.1", self.port, **options), client.connect_error
        return client

    @asynccontextmanager
    async def joined(self, *agent_ids: str) -> AsyncIterator[list[AgentClient]]:
        """Clients that have joined and leave at the end; ids get a number, so that tests do not meet."""
        clients = [await self.join(unique(agent_id)) for agent_id in agent_ids]
        try:
            yield clients
        finally:
            await asyncio.gather(*(client.disconnect() for client in clients))


def unique(name: str) -> str:
    return f"{name}-{next(_numbers)}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("workspace") / "data")
    yield running
    running.stop()


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> Iterator[Callable[..., Server]]:
    """Servers with options of their own."""
    running: list[Server] = []

    def start(*options: str, name: str = "data") -> Server:
        running.append(Server(tmp_path / name, *options))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs coroutine functions on a loop of their own, within the limit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    limit = SOAK_LIMIT if pyfuncitem.get_closest_marker("full") else LIMIT

    async def limited() -> None:
        await asyncio.wait_for(pyfuncitem.obj(**arguments), limit)

    asyncio.run(limited())
    return True


class Journal:
    """What handlers did, in order, and a way to wait for it."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = asyncio.Condition()

    async def write(self, entry: Any) -> None:
        async with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    async def reaches(self, count: int) -> list[Any]:
        async with self._changed:
            await self._changed.wait_for(lambda: count <= len(self.entries))
        return self.entries
