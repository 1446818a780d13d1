"""The examples of the documentation page, run as they are typed; a program of its own.

It runs in a mount and network namespace of its own, so that the host name of the page leads to a server here, on its
port and with its TLS: `unshare --mount --net python page.py open|token SERVER`. `test_page.py` starts it.
"""

from __future__ import annotations

import ast
import asyncio
import ctypes
import fcntl
import inspect
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
from typing import Any

PAGE = pathlib.Path(__file__).parent / "data" / "client-api-page.txt"
HOST = "workspace-endpoint.openagents.org"
LIMIT = 60.0


def blocks() -> list[str]:
    """The code of the page, in order: what is set off by empty lines, is Python, and does something."""
    found = []
    for paragraph in re.split(r"\n\n+", PAGE.read_text()):
        try:
            compile(paragraph, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError:
            continue
        if "(" in paragraph:
            found.append(paragraph)
    return found


def token() -> str:
    """The token that the page writes."""
    match = re.search(r'token="([^"]+)"', PAGE.read_text())
    assert match is not None
    return match[1]


def prepare(folder: pathlib.Path) -> None:
    """The names and the loopback of this namespace."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {HOST}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    private, bind = 1 << 18 | 1 << 14, 1 << 12
    for source, target, flags in [("none", "/", private), (str(hosts), "/etc/hosts", bind)]:
        if libc.mount(source.encode(), target.encode(), None, flags, None) != 0:
            raise OSError(ctypes.get_errno(), f"mount on {target}")
    up_and_running = struct.pack("16sH14s", b"lo", 0x1 | 0x40, b"")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, up_and_running)


def serve(folder: pathlib.Path, binary: str, *options: str) -> subprocess.Popen[str]:
    data = folder / "data"
    server = subprocess.Popen(
        [binary, "serve", "--port", "443", "--data", str(data), f"--tls-self-signed={HOST}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline().startswith("ready ")
    certificate = next(data.glob("**/*cert*.pem"))
    os.environ["SSL_CERT_FILE"] = str(certificate)
    return server


async def run_blocks(credentials: dict[str, str]) -> None:
    """Every block but the last, in one namespace, beside an agent that answers and talks."""
    from openagents.sdk.client import AgentClient

    other = AgentClient("other-bot")
    assert await other.connect_to_server(HOST, 443, **credentials), other.connect_error

    async def answer(event: Any) -> None:
        await other.workspace().agent(event.source_id).send(f"All fine, {event.source_id}")
        await other.workspace().channel("general").post("Somebody wrote to me")

    other.register_event_handler(answer, ["direct.message.received"])
    seen: list[Any] = []
    other.register_event_handler(seen.append, ["custom.*", "channel.*"])
    third = AgentClient("other-agent-id")
    assert await third.connect_to_server(HOST, 443, **credentials)

    names: dict[str, Any] = {}
    for number, block in enumerate(blocks()[:-1], start=1):
        code = compile(block, f"block {number} of the page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)
        if inspect.iscoroutine(running):
            await asyncio.wait_for(running, LIMIT)
        if number == 1:
            # Without the token of the page the guarded workspace says no, which is `False` and no exception.
            assert names["client"].is_connected is not bool(credentials)
    assert names["channels"] == ["general"]
    assert "other-bot" in [agent["id"] for agent in names["agents"]]
    assert names["response"]["text"] == "All fine, my-agent", names["response"]
    assert names["event"].event_name == "channel.message.posted"
    assert not names["client"].connector.is_connected
    received = await third.wait_event(lambda event: event.event_name == "agent.message", timeout=LIMIT)
    assert received is not None and received.payload["text"] == "Hello from the client API!"
    custom = await other.wait_event(lambda event: event.event_name == "agent.left", timeout=LIMIT)
    assert custom is not None and custom.payload["agent_id"] == "my-agent"
    assert [event.payload for event in seen if event.event_name == "custom.task.completed"] == [
        {"task": "data processing", "result": "success"}
    ]
    assert [event.text for event in seen if event.source_id == "my-agent"][0] == "Hello!"
    await third.disconnect()
    await other.disconnect()


async def run_example() -> None:
    """The complete example, as a program of its own: answers the mention, prints nothing, ends cleanly."""
    from openagents.sdk.client import AgentClient

    ana = AgentClient("ana")
    assert await ana.connect_to_server(HOST, 443), ana.connect_error

    async def greet(event: Any) -> None:
        if event.text == "Demo agent connected!":
            await ana.workspace().channel("general").post("@demo-agent are you there?")

    ana.register_event_handler(greet, ["channel.message.posted"])
    with tempfile.NamedTemporaryFile("w", suffix=".py") as program:
        program.write(blocks()[-1])
        program.flush()
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-Werror",
            "-Xdev",
            program.name,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        answer = await ana.wait_event(lambda event: event.text == "You called? I'm here!", timeout=LIMIT)
        assert answer is not None and answer.source_id == "demo-agent"
        left = await ana.wait_event(
            lambda event: event.event_name == "agent.left" and event.payload["agent_id"] == "demo-agent",
            timeout=LIMIT,
        )
        assert left is not None
        output, errors = await asyncio.wait_for(running.communicate(), LIMIT)
    assert (running.returncode, output, errors) == (0, b"", b""), (running.returncode, output, errors)
    await ana.disconnect()


def main() -> None:
    access, binary = sys.argv[1:]
    with tempfile.TemporaryDirectory() as written:
        folder = pathlib.Path(written)
        prepare(folder)
        guarded = access == "token"
        server = serve(folder, binary, *(["--token", token()] if guarded else []))
        try:
            asyncio.run(run_blocks({"token": token()} if guarded else {}))
            if not guarded:
                asyncio.run(run_example())
        finally:
            server.terminate()
            server.wait()
            assert server.stdout is not None
            server.stdout.close()


if __name__ == "__main__":
    main()
