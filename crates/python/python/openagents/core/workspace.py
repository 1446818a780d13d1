"""`Workspace`, where earlier documentation has it."""

from openagents.sdk.workspace import AgentConnection, Channel, Workspace

__all__ = ["AgentConnection", "Channel", "Workspace"]
