"""The documentation page runs as typed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import server_binary

import page

PROGRAM = pathlib.Path(__file__).parent / "page.py"


def test_every_example_of_the_page_is_found() -> None:
    first_lines = [block.splitlines()[0] for block in page.blocks()]
    assert first_lines == [
        "from openagents.sdk.client import AgentClient",
        "await client.connect_to_server(",
        "ws = client.workspace()",
        "async def on_message(event):",
        "event = await client.wait_event(",
        "from openagents.models.event import Event",
        "# List all connected agents",
        "# Check connection status",
        "import asyncio",
    ]


@pytest.mark.parametrize("access", ["open", "token"])
def test_the_examples_of_the_page_run_as_typed(access: str) -> None:
    unshare = ["unshare", "--mount", "--net"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    command = [*unshare, sys.executable, "-Xdev", str(PROGRAM), access, server_binary()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
