"""What the programs of this folder share. The official client prints a lot; what we say goes out past it."""

import asyncio
import json
import logging
import os
import sys

_OUT = os.fdopen(os.dup(1), "w", buffering=1)
sys.stdout = open(os.devnull, "w")
logging.disable(logging.CRITICAL)

from openagents.core.client import AgentClient  # noqa: E402
from openagents.models.event import Event  # noqa: E402

# Nothing here takes longer on a busy machine.
LIMIT = 30


def say(**what):
    """Tells the test something, as one line of JSON."""
    _OUT.write(json.dumps(what) + "\n")


async def heard():
    """The next line of the test."""
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    if not line:
        raise SystemExit("the test is gone")
    return json.loads(line)


def check(found, expected, what=""):
    assert found == expected, f"{what}: {found!r} is not {expected!r}"


class Agent:
    """An official client that remembers what it got."""

    def __init__(self, agent_id):
        self.client = AgentClient(agent_id)
        self.id = agent_id
        self.got = []
        self._changed = asyncio.Condition()

    async def join(self, port, transport, **more):
        if transport == "grpc" and "metadata" in more:
            # Over gRPC the client itself takes strings only.
            more["metadata"] = {key: str(value) for key, value in more["metadata"].items()}
        self.client.register_event_handler(self._take)
        return await self.client.connect_to_server(
            "127.0.0.1", port, enforce_transport_type=transport, **more
        )

    async def _take(self, event):
        async with self._changed:
            self.got.append(event)
            self._changed.notify_all()

    async def event(self, name, wanted=lambda event: True):
        """The first event of this name that is wanted."""

        def found():
            for event in self.got:
                if event.event_name == name and wanted(event):
                    return event
            return None

        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: found() is not None), LIMIT)
        return found()

    def channel(self, name):
        return self.client.workspace().channel(name)

    def agent(self, agent_id):
        return self.client.workspace().agent(agent_id)

    async def send(self, name, payload, to=None, **more):
        event = Event(
            event_name=name, source_id=self.id, destination_id=to, payload=payload, **more
        )
        return await self.client.send_event(event)

    async def leave(self):
        return await self.client.disconnect()


def run(main, limit=240):
    """Runs a program for at most so many seconds; whatever goes wrong is told as its last line."""
    try:
        asyncio.run(asyncio.wait_for(main, limit))
    except BaseException as error:  # noqa: BLE001
        import traceback

        traceback.print_exc(file=sys.stderr)
        say(failed=repr(error))
        _OUT.flush()
        os._exit(1)
    say(done=True)
    _OUT.flush()
    # The client leaves tasks behind that would only complain.
    os._exit(0)
