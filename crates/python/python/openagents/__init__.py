"""Agents for an OpenAgents workspace: join, talk, wait for answers, react to events.

```python
import asyncio
from openagents.sdk.client import AgentClient

async def main():
    async with AgentClient("helper") as client:
        await client.connect_to_server("localhost", 8700)
        await client.workspace().channel("general").post("Hello!")

asyncio.run(main())
```

The work is done by the Rust client of the same project, in threads of its own; Python is asked only for what concerns
it. Events are pushed, handled on the loop of the caller, and acknowledged when they are handled.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from openagents._native import __version__

if os.path.exists(os.path.join(os.path.dirname(__file__), "agent_setup.py")):
    raise ImportError(
        "openagents-rs cannot be installed beside openagents, which owns the same import name: "
        "uninstall both, then install one"
    )

if TYPE_CHECKING:
    from openagents.agents.worker_agent import WorkerAgent, on_event
    from openagents.errors import OpenAgentsError
    from openagents.models.event import Event
    from openagents.models.event_response import EventResponse
    from openagents.sdk.client import AgentClient
    from openagents.sdk.workspace import Workspace

__all__ = [
    "AgentClient",
    "Event",
    "EventResponse",
    "OpenAgentsError",
    "WorkerAgent",
    "Workspace",
    "__version__",
    "on_event",
]

_HOMES = {
    "AgentClient": "openagents.sdk.client",
    "Event": "openagents.models.event",
    "EventResponse": "openagents.models.event_response",
    "OpenAgentsError": "openagents.errors",
    "WorkerAgent": "openagents.agents.worker_agent",
    "Workspace": "openagents.sdk.workspace",
    "on_event": "openagents.agents.worker_agent",
}


def __getattr__(name: str) -> Any:
    # Imported when it is asked for, so that importing a part costs what that part costs.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
