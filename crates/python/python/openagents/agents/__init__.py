"""Agents that react."""

from openagents.agents.worker_agent import WorkerAgent, on_event

__all__ = ["WorkerAgent", "on_event"]
