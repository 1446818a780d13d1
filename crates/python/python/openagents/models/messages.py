"""The names of the documented events."""

from openagents.models.event import EventNames

__all__ = ["EventNames"]
