"""Programs that end in every way with a live connection: quietly, with the right code, and others learn of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest
from conftest import LIMIT, Server, unique

START = """
import asyncio, os, sys, threading
from openagents.models.event import Event
from openagents.sdk.client import AgentClient

name, port = sys.argv[1], int(sys.argv[2])
client = AgentClient(name)

async def busy(event):
    await asyncio.sleep(1000)

async def connect():
    client.register_event_handler(busy)
    assert await client.connect_to_server("127.0.0.1", port)
    for number in range(20):
        await client.send_event(Event("custom.event", destination_id="agent:" + name))
"""

ENDINGS = {
    "the main coroutine returns": ("asyncio.run(connect())", 0),
    "a wait is still open": (
        """
        async def main():
            await connect()
            task = asyncio.create_task(client.wait_event(lambda event: False, timeout=None))
            await asyncio.sleep(0)

        asyncio.run(main())
        """,
        0,
    ),
    "the loop is closed by hand": (
        """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(connect())
        for task in asyncio.all_tasks(loop):
            task.cancel()
            try:
                loop.run_until_complete(task)
            except asyncio.CancelledError:
                pass
        loop.close()
        """,
        0,
    ),
    "the program exits": ("asyncio.run(connect()); sys.exit(7)", 7),
    "the program exits inside the loop": (
        """
        async def main():
            await connect()
            sys.exit(8)

        asyncio.run(main())
        """,
        8,
    ),
    "a thread with a loop is still there": (
        """
        connected = threading.Event()

        def run():
            async def main():
                await connect()
                connected.set()
                await asyncio.sleep(1000)

            asyncio.run(main())

        threading.Thread(target=run, daemon=True).start()
        connected.wait()
        """,
        0,
    ),
    "ctrl-c comes while it waits": (
        """
        import signal

        async def main():
            await connect()
            waiting = asyncio.create_task(client.wait_event(lambda event: False, timeout=None))
            await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGINT)
            await waiting

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            sys.exit(9)
        """,
        9,
    ),
    "a handler exits": (
        """
        async def leave(event):
            sys.exit(10)

        async def main():
            client.register_event_handler(leave, "custom.event")
            await connect()
            await asyncio.sleep(1000)

        asyncio.run(main())
        """,
        10,
    ),
    "loops follow each other": (
        """
        async def use():
            assert "general" in await client.workspace().channels()

        asyncio.run(connect())
        asyncio.run(use())
        asyncio.run(use())
        """,
        0,
    ),
    "it never connected": ("client.workspace(); AgentClient()", 0),
    "the client is gone": ("asyncio.run(connect()); del client; import gc; gc.collect()", 0),
    "after a stream was left": (
        """
        async def main():
            await connect()
            stream = client.events()
            await client.send_event(Event("custom.event", destination_id="agent:" + name))
            async for event in stream:
                break

        asyncio.run(main())
        """,
        0,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_program_ends_quietly_when(server: Server, ending: str) -> None:
    code, expected = ENDINGS[ending]
    async with server.joined("watcher") as (watcher,):
        name = unique("ending")
        gone = asyncio.create_task(
            watcher.wait_event(
                lambda event: event.event_name == "agent.left" and event.payload["agent_id"] == name,
                timeout=None,
            )
        )
        program = START + textwrap.dedent(code)
        running = await asyncio.create_subprocess_exec(
            *[sys.executable, "-Xdev", "-Werror", "-c", program, name, str(server.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(running.communicate(), LIMIT)
        assert (running.returncode, output.decode(), errors.decode()) == (expected, "", "")
        if ending == "it never connected":
            gone.cancel()
        else:
            event = await gone
            assert event is not None and event.payload["reason"] != "lease_expired", event


async def test_a_forked_process_makes_a_client_of_its_own(server: Server) -> None:
    program = START + textwrap.dedent(
        """
        from openagents.errors import NotConnectedError

        async def child():
            try:
                await client.workspace().channel("general").post("from the old client")
            except NotConnectedError as error:
                assert error.code == "forked", error
            else:
                raise AssertionError("the client of the parent works in the child")
            assert not client.is_connected
            mine = AgentClient(name + "-child")
            assert await mine.connect_to_server("127.0.0.1", port)
            assert (await mine.workspace().channel("general").post("from the child")).success
            await mine.disconnect()

        asyncio.run(connect())
        process = os.fork()
        if process == 0:
            asyncio.run(child())
            sys.exit(0)
        _, status = os.waitpid(process, 0)
        assert status == 0, status
        asyncio.run(client.disconnect())
        """
    )
    running = await asyncio.create_subprocess_exec(
        *[sys.executable, "-Xdev", "-c", program, unique("fork"), str(server.port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(running.communicate(), LIMIT)
    assert (running.returncode, output.decode()) == (0, ""), errors.decode()
