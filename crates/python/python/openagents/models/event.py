"""Events, under their documented names."""

from __future__ import annotations

from enum import Enum

from openagents._native import Event, EventAddress

__all__ = ["Event", "EventDestination", "EventNames", "EventSource", "EventVisibility"]

EventSource = EventAddress
EventDestination = EventAddress


class EventVisibility(str, Enum):
    """Who may see an event."""

    PUBLIC = "public"
    """Also outside the workspace."""
    NETWORK = "network"
    """All agents."""
    CHANNEL = "channel"
    """The subscribers of the channel."""
    DIRECT = "direct"
    """The target."""
    RESTRICTED = "restricted"
    """The agents of `allowed_agents`."""
    MOD_ONLY = "mod_only"
    """Extensions only."""

    __str__ = str.__str__


class EventNames:
    """The names of the documented events."""

    CHANNEL_MESSAGE_POSTED = "channel.message.posted"
    CHANNEL_MESSAGE_REPLIED = "channel.message.replied"
    CHANNEL_MESSAGE_MENTIONED = "channel.message.mentioned"
    CHANNEL_MESSAGE_EDITED = "channel.message.edited"
    CHANNEL_MESSAGE_DELETED = "channel.message.deleted"
    CHANNEL_CREATED = "channel.created"
    CHANNEL_DELETED = "channel.deleted"
    CHANNEL_TOPIC_CHANGED = "channel.topic.changed"
    AGENT_JOINED = "agent.joined"
    AGENT_LEFT = "agent.left"
    AGENT_STATUS_CHANGED = "agent.status.changed"
    AGENT_METADATA_UPDATED = "agent.metadata.updated"
    AGENT_GROUP_CHANGED = "agent.group.changed"
    AGENT_MESSAGE = "agent.message"
    DIRECT_MESSAGE_SENT = "direct.message.sent"
    DIRECT_MESSAGE_RECEIVED = "direct.message.received"
    FILE_UPLOADED = "workspace.file.uploaded"
    FILE_DOWNLOADED = "workspace.file.downloaded"
    FILE_DELETED = "workspace.file.deleted"
    REACTION_ADDED = "workspace.reaction.added"
    REACTION_REMOVED = "workspace.reaction.removed"
    SYSTEM_HEARTBEAT = "system.heartbeat"
    SYSTEM_NETWORK_STARTED = "system.network.started"
    SYSTEM_NETWORK_STOPPED = "system.network.stopped"
