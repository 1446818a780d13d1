"""What the hooks of a `WorkerAgent` are called with: an event, seen as what it is.

A context is made from its event alone; the other keywords are for tests that want something else in it.

```python
context = ChannelMessageContext(Event("channel.message.posted", "alice", payload={"content": {"text": "Hi"}}))
assert context.text == "Hi"
```
"""

from __future__ import annotations

import base64
import pathlib
import re
from typing import Any

from openagents.errors import FileError
from openagents.models.event import Event

__all__ = [
    "ChannelMessageContext",
    "EventContext",
    "FileContext",
    "ReactionContext",
    "ReplyMessageContext",
    "extract_mentions",
]

# Words after an `@`; an `@` inside a word, as in an e-mail address, starts none.
_MENTION = re.compile(r"(?<![\w.:+-])@([\w.:+-]*\w)")


def extract_mentions(text: str) -> list[str]:
    """The ids after `@` in a text, each once, whether or not there are such agents."""
    return list(dict.fromkeys(_MENTION.findall(text)))


class EventContext:
    """An event with what it says."""

    def __init__(
        self,
        incoming_event: Event,
        *,
        agent_id: str = "",
        network_id: str = "",
        event_threads: dict[str, Any] | None = None,
        incoming_thread_id: str | None = None,
    ) -> None:
        self.incoming_event = incoming_event
        """The event itself."""
        self.agent_id = agent_id
        """The agent that received it."""
        self.network_id = network_id
        """The workspace."""
        self.event_threads: dict[str, Any] = {} if event_threads is None else event_threads
        """Kept for older programs; threads are read with `Channel.get_thread`."""
        named = self._field("thread_id") or incoming_event.thread_name
        self.incoming_thread_id = named if incoming_thread_id is None else incoming_thread_id
        """The thread that it belongs to: the id of the first message, else the name that the sender gave it."""

    def _field(self, key: str) -> Any:
        return self.incoming_event.payload.get(key)

    @property
    def raw_message(self) -> Event:
        """The event itself, under its older name."""
        return self.incoming_event

    @property
    def source_id(self) -> str:
        """Who made it: the id of the agent, or `system`."""
        return self.incoming_event.source_id

    @property
    def sender_id(self) -> str:
        """The same as `source_id`."""
        return self.incoming_event.source_id

    @property
    def text(self) -> str:
        """The text of the message, or that of a free payload; empty where there is none."""
        return self.incoming_event.text

    @property
    def payload(self) -> dict[str, Any]:
        """What the event says."""
        return self.incoming_event.payload

    @property
    def metadata(self) -> dict[str, Any]:
        """The free notes beside the payload."""
        return self.incoming_event.metadata

    @property
    def timestamp(self) -> float:
        """When the workspace took it, in seconds since 1970."""
        return self.incoming_event.timestamp

    @property
    def message_id(self) -> str:
        """The id of the event; of a message, the id of the message."""
        return self.incoming_event.event_id

    def _channel(self) -> str | None:
        destination = self.incoming_event.parse_destination()
        return destination.destination_id if destination.role == "channel" else self._field("channel")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.incoming_event!r})"


class ChannelMessageContext(EventContext):
    """A message in a channel."""

    def __init__(
        self,
        incoming_event: Event,
        *,
        channel: str | None = None,
        mentioned_agent_id: str | None = None,
        quoted_message_id: str | None = None,
        quoted_text: str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(incoming_event, **shared)
        self.channel: str = (self._channel() or "") if channel is None else channel
        """The channel, without `#`."""
        own = self.agent_id if incoming_event.matches_pattern("channel.message.mentioned") else None
        self.mentioned_agent_id: str | None = mentioned_agent_id or self._field("mentioned_agent_id") or own
        """The agent that the sender named beside the text; else this agent, where the text mentions it."""
        self.quoted_message_id: str | None = quoted_message_id or self._field("quoted_message_id")
        """The message that the sender quotes."""
        self.quoted_text: str | None = quoted_text or self._field("quoted_text")
        """The text that the sender quotes."""

    @property
    def thread_id(self) -> str | None:
        """The id of the first message of its thread; `None` for a message that is no reply."""
        thread_id: str | None = self._field("thread_id") or self.incoming_event.reply_to_id
        return thread_id

    @property
    def message_type(self) -> str:
        """`channel_message`, or `reply_message` for a reply."""
        return "channel_message" if self.incoming_event.reply_to_id is None else "reply_message"

    @property
    def mentions(self) -> list[str]:
        """The ids that the message mentions, in the text or beside it."""
        named = [] if self.mentioned_agent_id is None else [self.mentioned_agent_id]
        return list(dict.fromkeys(extract_mentions(self.text) + named))


class ReplyMessageContext(ChannelMessageContext):
    """A reply in a thread of a channel."""

    def __init__(
        self,
        incoming_event: Event,
        *,
        reply_to_id: str | None = None,
        target_agent_id: str | None = None,
        thread_level: int | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(incoming_event, **shared)
        parent = reply_to_id or incoming_event.reply_to_id or self._field("parent_id")
        self.parent_message_id: str = parent or ""
        """The message that it replies to."""
        self.root_message_id: str = self.thread_id or self.parent_message_id
        """The first message of the thread."""
        self.target_agent_id: str | None = target_agent_id or self._field("target_agent_id")
        """The agent that the reply is meant for, where the sender says so."""
        direct = self.parent_message_id == self.root_message_id
        self.thread_depth: int = thread_level or (1 if direct else 2)
        """1 for a reply to the first message of the thread, 2 for a reply to one of its replies."""

    @property
    def reply_to_id(self) -> str:
        """The same as `parent_message_id`."""
        return self.parent_message_id

    @property
    def thread_level(self) -> int:
        """The same as `thread_depth`."""
        return self.thread_depth


class ReactionContext(EventContext):
    """A reaction to a message that was added or removed."""

    @property
    def reaction(self) -> str:
        """The reaction: an emoji or a short name such as `thumbsup`."""
        return self._field("reaction") or ""

    @property
    def reaction_type(self) -> str:
        """The same as `reaction`."""
        return self.reaction

    @property
    def message_id(self) -> str:
        """The message that was reacted to."""
        return self._field("message_id") or ""

    @property
    def target_message_id(self) -> str:
        """The same as `message_id`."""
        return self.message_id

    @property
    def reactor_id(self) -> str:
        """Who reacted; the same as `source_id`."""
        return self.source_id

    @property
    def action(self) -> str:
        """`add` or `remove`."""
        return "remove" if self.incoming_event.event_name == "workspace.reaction.removed" else "add"

    @property
    def channel(self) -> str | None:
        """The channel that the message stands in; `None` between two agents."""
        return self._channel()


class FileContext(EventContext):
    """A file that somebody shared. Its content is fetched before the hook is called."""

    def __init__(self, incoming_event: Event, *, file_path: str = "", **shared: Any) -> None:
        super().__init__(incoming_event, **shared)
        self._file_path = file_path

    @property
    def file_path(self) -> str:
        """A readable copy on this machine, which is removed with this context; a `FileError` if the file is too large."""
        if not self._file_path:
            raise FileError(f"a file of {self.file_size} bytes is not fetched", code="too_large")
        return self._file_path

    @file_path.setter
    def file_path(self, path: str) -> None:
        self._file_path = path

    @property
    def file_id(self) -> str:
        """Names the file in the workspace."""
        return self._field("file_id") or ""

    @property
    def file_name(self) -> str:
        """Its name as the uploader gave it: for showing, never a path."""
        return self._field("filename") or ""

    @property
    def filename(self) -> str:
        """The same as `file_name`."""
        return self.file_name

    @property
    def file_size(self) -> int:
        """Bytes."""
        return self._field("size") or 0

    @property
    def file_type(self) -> str:
        """Media type, such as `text/csv`."""
        return self._field("mime_type") or "application/octet-stream"

    @property
    def mime_type(self) -> str:
        """The same as `file_type`."""
        return self.file_type

    @property
    def checksum(self) -> str:
        """SHA-256 of the content, 64 lower-case hex digits."""
        return self._field("checksum") or ""

    @property
    def description(self) -> str:
        """What the uploader says of it."""
        return self._field("description") or ""

    @property
    def channel(self) -> str | None:
        """The channel that it was shared in; `None` for everyone, or for one agent."""
        return self._channel()

    @property
    def content_bytes(self) -> bytes:
        """The content."""
        return pathlib.Path(self.file_path).read_bytes()

    @property
    def file_content(self) -> str:
        """The content in base64."""
        return base64.b64encode(self.content_bytes).decode()
