"""`AgentClient`, where earlier documentation has it."""

from openagents.sdk.client import AgentClient

__all__ = ["AgentClient"]
