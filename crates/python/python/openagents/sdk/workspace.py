"""The workspace: channels, agents and files."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Union

from openagents import _native
from openagents._dispatch import Handler
from openagents.errors import NotConnectedError, RefusedError, TimedOutError
from openagents.models.event import Event
from openagents.models.event_response import EventResponse, refusal

if TYPE_CHECKING:
    from datetime import datetime

    from openagents.sdk.client import AgentClient

__all__ = ["AgentConnection", "Channel", "EventSubscription", "FoundMessages", "Thread", "Workspace"]

Content = str | dict[str, Any]
FilePath = str | os.PathLike[str]
Moment = Union[float, "datetime"]


class Workspace:
    """The workspace of a client; from `AgentClient.workspace()`.

    ```python
    ws = client.workspace()
    await ws.channel("general").post("Hello!")
    answer = await ws.agent("other-bot").send_and_wait("What's the status?", timeout=30.0)
    ```
    """

    def __init__(self, client: AgentClient) -> None:
        self._client = client
        self._native = client._native.workspace()

    @property
    def client(self) -> AgentClient:
        """The client it belongs to."""
        return self._client

    @property
    def agent_id(self) -> str:
        """The id of this agent."""
        return self._client.agent_id

    async def channels(self, refresh: bool = False) -> list[str]:
        """The names of the channels, sorted, without `#`. They are always asked for, so `refresh` changes nothing."""
        return await self._native.channels()

    async def list_channels(self) -> list[dict[str, Any]]:
        """The channels with everything about them: `name`, `description`, `topic`, `members`, `joined`, …"""
        return await self._native.list_channels()

    async def agents(self, refresh: bool = False) -> list[str]:
        """The ids of the agents that are online, sorted, this one included."""
        return await self._native.agents()

    async def list_agents(self) -> list[dict[str, Any]]:
        """The agents that are online; see `AgentClient.list_agents`."""
        return await self._client.list_agents()

    def channel(self, name: str) -> Channel:
        """A channel, written with or without `#`. One that does not exist shows at the first call."""
        return Channel(self, self._client._native.channel(name))

    def agent(self, agent_id: str) -> AgentConnection:
        """Another agent. One that was never here shows at the first message."""
        return AgentConnection(self, self._client._native.agent(agent_id))

    async def create_channel(
        self, name: str | None = None, description: str = "", *, channel_name: str | None = None
    ) -> Channel:
        """Makes a channel; this agent is a member then.

        ```python
        dev = await ws.create_channel("dev", description="Where we build")
        ```
        """
        written = channel_name if name is None else name
        if written is None:
            raise TypeError("create_channel() needs a name")
        return self.channel(await self._native.create_channel(written, description))

    async def get_network_info(self) -> dict[str, Any]:
        """What the workspace is: `name`, `description`, `agents_online`, `channels`, `durability`, …"""
        return await self._native.get_network_info()

    async def conversations(self, limit: int = 50) -> list[dict[str, Any]]:
        """The conversations of this agent, the one with the newest message first."""
        return await self._native.conversations(limit)

    async def get_message(self, message_id: str) -> dict[str, Any]:
        """A message by its id, as it is now."""
        return await self._native.get_message(message_id)

    async def search(
        self,
        query: str,
        *,
        channel: str | None = None,
        agent_id: str | None = None,
        sender: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int = 20,
    ) -> FoundMessages:
        """Searches the messages that this agent may read, newest first, at most `limit` (1 to 100).

        ```python
        for found in await ws.search('"rolled back" deploy*', channel="ops", limit=5):
            print(found["message"]["sender_id"], found["message"]["text"])
        ```

        All words have to occur. `"two words"` in quotes is a phrase, `deploy*` a beginning; case and accents do not count.
        It is narrowed by `channel`, by the conversation with `agent_id`, by `sender`, by time (`since` and before `until`,
        each a `datetime` or seconds since 1970), and by position (`before`, `after`).

        Each result has the `message` as it is now, and a `snippet`: the text around the first match in pieces with `text`
        and `matched`. `has_more` of the list says that there may be older ones; `before=` of the list goes on there.
        """
        options = {
            "query": query,
            "channel": channel,
            "agent_id": agent_id,
            "sender": sender,
            "since": _seconds(since),
            "until": _seconds(until),
            "before": before,
            "after": after,
            "limit": limit,
        }
        return FoundMessages(**await self._native.search(options))

    def subscribe_to_events(self, patterns: str | Iterable[str], handler: Handler) -> EventSubscription:
        """Calls a handler for every event whose name matches one of the patterns. Awaiting the result is allowed.

        `workspace.channel.*` and `workspace.direct.*` match `channel.*` and `direct.*` too.
        """
        self._client.register_event_handler(handler, patterns)
        return EventSubscription(self._client, handler)

    async def send_event(
        self,
        event: Event | None = None,
        *,
        event_name: str | None = None,
        destination_id: str | None = None,
        payload: dict[str, Any] | None = None,
        **fields: Any,
    ) -> EventResponse:
        """Sends an event, as such or by its fields.

        ```python
        await ws.send_event(event_name="task.delegate", destination_id="agent:worker", payload={"task": "count"})
        ```
        """
        if event is None:
            if event_name is None:
                raise TypeError("send_event() needs an event or its event_name")
            event = Event(event_name, destination_id=destination_id, payload=payload, **fields)
        return await self._client.send_event(event)

    async def list_files(self) -> list[dict[str, Any]]:
        """The files that this agent may read, newest first: `id`, `name`, `size`, `uploader`, `mime_type`, …"""
        return await self._native.list_files()

    async def get_file(self, file_id: str) -> dict[str, Any]:
        """What the workspace knows of a file."""
        return await self._native.get_file(file_id)

    async def upload_file(
        self,
        file_path: FilePath,
        description: str = "",
        tags: Iterable[str] = (),
        *,
        filename: str | None = None,
        mime_type: str | None = None,
    ) -> dict[str, Any]:
        """Shares a file with everyone; the answer has its `id`.

        ```python
        report = await ws.upload_file("report.md", "What we found", tags=["weekly"])
        await ws.download_file(report["id"], "copy.md")
        ```
        """
        return await self._native.upload_file(
            os.fspath(file_path), description, list(tags), filename, mime_type
        )

    async def download_file(self, file_id: str, path: FilePath | None = None) -> Any:
        """Fetches a file to a path, which it returns; without a path it returns the content as bytes.

        The file is there under its name when all of it is and its checksum was compared.
        """
        if path is None:
            return await self._native.read_file(file_id)
        return await self._native.download_file(file_id, os.fspath(path))

    async def delete_file(self, file_id: str) -> EventResponse:
        """Deletes a file, content and all."""
        return EventResponse._of(await self._native.delete_file(file_id))

    def __repr__(self) -> str:
        return f"<Workspace of {self._client!r}>"


class FoundMessages(list[dict[str, Any]]):
    """What a search found, newest first; from `Workspace.search`. Each has `message` and `snippet`."""

    def __init__(self, results: list[dict[str, Any]], has_more: bool, before: int | None, indexed: int) -> None:
        super().__init__(results)
        self.has_more = has_more
        """Whether there may be older ones."""
        self.before = before
        """The `before` to go on with, where there may be more."""
        self.indexed = indexed
        """Everything that was said up to this position was looked through."""


class EventSubscription:
    """A handler that was registered with `Workspace.subscribe_to_events`."""

    def __init__(self, client: AgentClient, handler: Handler) -> None:
        self._client = client
        self._handler = handler

    def __await__(self) -> Generator[Any, None, EventSubscription]:
        return self
        yield

    def unsubscribe(self) -> bool:
        """Calls the handler no more; `False` if it was not registered any more."""
        return self._client.unregister_event_handler(self._handler)

    def __repr__(self) -> str:
        return f"<EventSubscription of {self._handler!r}>"


class Channel:
    """A channel of the workspace; from `Workspace.channel()`.

    Content is text, or a dictionary that is sent as it is. Messages are dictionaries with `message_id` (also `id`),
    `sender_id`, `content`, `text`, `timestamp`, `channel`, `metadata`, `reply_to_id`, `thread_id`, `reactions`, …
    """

    def __init__(self, workspace: Workspace, native: _native.Channel) -> None:
        self._workspace = workspace
        self._native = native

    @property
    def name(self) -> str:
        """Its name, without `#`."""
        return self._native.name

    async def post(
        self, content: Content, metadata: dict[str, Any] | None = None, *, event_id: str | None = None
    ) -> EventResponse:
        """Posts a message. Posting it again under the same `event_id` changes nothing.

        ```python
        response = await ws.channel("general").post("Ready to work", metadata={"type": "status"})
        print(response.data["message_id"])
        ```
        """
        return EventResponse._of(await self._native.post(content, metadata, event_id=event_id))

    async def reply(
        self,
        message_id: str,
        content: Content | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        text: str | None = None,
        event_id: str | None = None,
    ) -> EventResponse:
        """Replies to a message.

        ```python
        await ws.channel("general").reply(event.id, "On it!")
        ```
        """
        written = _content(content, text)
        return EventResponse._of(await self._native.post(written, metadata, message_id, event_id=event_id))

    async def reply_to_message(
        self,
        message_id: str,
        content: Content | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        text: str | None = None,
    ) -> EventResponse:
        """The same as `reply`."""
        return await self.reply(message_id, content, metadata, text=text)

    async def post_with_mention(
        self, content: Content, mention_agent_id: str, metadata: dict[str, Any] | None = None
    ) -> EventResponse:
        """Posts a message that mentions an agent, also where the text does not name it."""
        return EventResponse._of(await self._native.post(content, metadata, None, mention_agent_id))

    async def get_messages(
        self, limit: int = 50, offset: int = 0, *, before: int | None = None, after: int | None = None
    ) -> list[dict[str, Any]]:
        """The newest messages first, at most `limit` (1 to 1,000), after passing over `offset`.

        `before` takes those before a position (`message["sequence"]`); `after` those after one, oldest first.

        ```python
        for message in await ws.channel("general").get_messages(limit=20):
            print(message["sender_id"], message["content"]["text"])
        ```
        """
        page = await self._native.get_messages(_page(limit, offset, before, after))
        messages: list[dict[str, Any]] = page["messages"]
        return messages

    async def get_thread(
        self,
        thread_id: str,
        limit: int = 50,
        offset: int = 0,
        *,
        before: int | None = None,
        after: int | None = None,
    ) -> list[dict[str, Any]]:
        """The replies in a thread, by the id of its first message, newest first; as `get_messages`."""
        page = await self._native.get_thread(thread_id, _page(limit, offset, before, after))
        messages: list[dict[str, Any]] = page["messages"]
        return messages

    async def wait_for_post(
        self, from_agent: str | None = None, timeout: float | None = 30.0
    ) -> dict[str, Any] | None:
        """The next post here by somebody else, or by this agent only; `None` after the time."""
        return await self._native.wait_for_post(from_agent, timeout)

    async def wait_for_reply(
        self, message_id: str | None = None, timeout: float | None = 30.0
    ) -> dict[str, Any] | None:
        """The next reply here by somebody else, to this message where one is named; `None` after the time."""
        return await self._native.wait_for_reply(message_id, timeout)

    async def wait_for_reaction(
        self, message_id: str, timeout: float | None = 30.0
    ) -> dict[str, Any] | None:
        """The next reaction to a message by somebody else: `message_id`, `reaction`, `agent_id`; `None` after the time."""
        return await self._native.wait_for_reaction(message_id, timeout)

    async def post_and_wait(
        self, content: Content, timeout: float | None = 30.0
    ) -> dict[str, Any] | None:
        """Posts and waits for the first reply to that post; `None` after the time, or at once when it was refused."""
        return await self._native.post_and_wait(content, timeout)

    async def react(self, message_id: str, reaction: str) -> EventResponse:
        """Reacts to a message with an emoji or a short name such as `thumbsup`."""
        return await self.react_to_message(message_id, reaction)

    async def add_reaction(self, message_id: str, reaction: str) -> EventResponse:
        """The same as `react`."""
        return await self.react_to_message(message_id, reaction)

    async def react_to_message(
        self, message_id: str, reaction: str, action: str = "add"
    ) -> EventResponse:
        """Reacts to a message, or takes the reaction back with `action="remove"`."""
        return EventResponse._of(await self._native.react(message_id, reaction, action))

    async def edit_message(self, message_id: str, content: Content) -> EventResponse:
        """Replaces the content of an own message."""
        return EventResponse._of(await self._native.edit(message_id, content))

    async def delete_message(self, message_id: str) -> EventResponse:
        """Deletes a message: its content is erased for good. For its author and for moderators."""
        return EventResponse._of(await self._native.delete_message(message_id))

    async def upload_file(
        self,
        file_path: FilePath,
        description: str = "",
        *,
        filename: str | None = None,
        mime_type: str | None = None,
    ) -> EventResponse:
        """Shares a file in the channel; `data["file_id"]` names it."""
        upload = self._native.upload_file(os.fspath(file_path), description, filename, mime_type)
        return await _uploaded(upload)

    async def set_topic(self, topic: str) -> EventResponse:
        """Changes what the channel is about."""
        return EventResponse._of(await self._native.set_topic(topic))

    async def configure(self, settings: dict[str, Any]) -> EventResponse:
        """Changes the rules of the channel; what is left out stays.

        `max_file_size` in bytes, `allowed_file_types` as extensions, `auto_archive_days`, `enable_threading`.
        """
        return EventResponse._of(await self._native.configure(settings))

    async def set_permissions(self, permissions: dict[str, Any]) -> EventResponse:
        """Changes who may do what here; what is left out stays.

        `post_messages`, `upload_files`, `create_threads`, `manage_channel`, each a list of `all`, `agents`, `humans`,
        `admin`.
        """
        return EventResponse._of(await self._native.set_permissions(permissions))

    async def start_thread(self, title: str, initial_message: Content) -> Thread:
        """Begins a thread: posts a message with a title."""
        thread_id, title = await self._native.start_thread(title, initial_message)
        return Thread(self, thread_id, title)

    async def reply_to_thread(self, thread_id: str, message: Content) -> EventResponse:
        """Replies in a thread, by the id of its first message."""
        return await self.reply(thread_id, message)

    async def join(self) -> dict[str, Any]:
        """Becomes a member."""
        return await self._native.join()

    async def leave(self) -> dict[str, Any]:
        """Stops being a member."""
        return await self._native.leave()

    async def members(self) -> list[dict[str, Any]]:
        """The members, sorted by id."""
        return await self._native.members()

    async def archive(self, archived: bool = True) -> EventResponse:
        """Archives the channel, or opens it again: it can be read and not written."""
        return EventResponse._of(await self._native.archive(archived))

    async def delete(self) -> EventResponse:
        """Deletes the channel. What was said here cannot be read any more."""
        return EventResponse._of(await self._native.delete())

    def __repr__(self) -> str:
        return f"<Channel {self.name!r}>"


class Thread:
    """A thread that was begun with a title; from `Channel.start_thread`."""

    def __init__(self, channel: Channel, thread_id: str, title: str) -> None:
        self._channel = channel
        self.id = thread_id
        """The id of its first message."""
        self.title = title

    async def reply(self, content: Content) -> EventResponse:
        """Replies in it."""
        return await self._channel.reply(self.id, content)

    def __getitem__(self, key: str) -> str:
        if key in ("id", "thread_id"):
            return self.id
        if key == "title":
            return self.title
        raise KeyError(key)

    def __repr__(self) -> str:
        return f"<Thread {self.title!r} in {self._channel.name!r}, id {self.id!r}>"


class AgentConnection:
    """Another agent of the workspace; from `Workspace.agent()`."""

    def __init__(self, workspace: Workspace, native: _native.Agent) -> None:
        self._workspace = workspace
        self._native = native

    @property
    def agent_id(self) -> str:
        """Its id."""
        return self._native.agent_id

    async def send(
        self, content: Content, metadata: dict[str, Any] | None = None, *, event_id: str | None = None
    ) -> EventResponse:
        """Sends a direct message. `data["recipients"]` tells whether the agent is there.

        Sending it again under the same `event_id` changes nothing.
        """
        return EventResponse._of(await self._native.send(content, metadata, event_id))

    async def send_and_wait(
        self, content: Content, timeout: float | None = 30.0
    ) -> dict[str, Any] | None:
        """Sends a direct message and waits for the answer.

        ```python
        answer = await ws.agent("reviewer").send_and_wait("Ready?")
        print(answer["text"] if answer else "no answer")
        ```

        `None` after the time, and at once when there was never an agent of this id. The answer is the one to this very
        message, however many questions are open. It has `text`, `content`, `payload`, `sender_id`, `message_id`, …
        """
        return await self._native.send_and_wait(content, timeout)

    async def ask(self, content: Content, timeout: float | None = 30.0) -> dict[str, Any]:
        """The same as `send_and_wait`, with an exception where there is no answer: it has a `code` that says why.

        Raises `TimedOutError`, `RefusedError` (`agent_not_found` for one that was never here), `NotConnectedError`.
        """
        return await self._native.ask(content, timeout)

    async def wait_for_message(self, timeout: float | None = 30.0) -> dict[str, Any] | None:
        """The next direct message of this agent; `None` after the time."""
        return await self._native.wait_for_message(timeout)

    async def wait_for_reply(self, timeout: float | None = 30.0) -> dict[str, Any] | None:
        """The same as `wait_for_message`."""
        return await self._native.wait_for_message(timeout)

    async def get_agent_info(self) -> dict[str, Any]:
        """What the workspace knows of it: `agent_id`, `status`, `capabilities`, `metadata`, `last_seen`."""
        return await self._native.get_agent_info()

    async def get_messages(
        self, limit: int = 50, offset: int = 0, *, before: int | None = None, after: int | None = None
    ) -> list[dict[str, Any]]:
        """The newest messages of the conversation with this agent first; as `Channel.get_messages`."""
        page = await self._native.get_messages(_page(limit, offset, before, after))
        messages: list[dict[str, Any]] = page["messages"]
        return messages

    async def send_file(
        self,
        file_path: FilePath,
        description: str = "",
        *,
        filename: str | None = None,
        mime_type: str | None = None,
    ) -> EventResponse:
        """Sends a file to the agent; `data["file_id"]` names it."""
        upload = self._native.send_file(os.fspath(file_path), description, filename, mime_type)
        return await _uploaded(upload)

    def __repr__(self) -> str:
        return f"<AgentConnection to {self.agent_id!r}>"


def _page(limit: int, offset: int, before: int | None = None, after: int | None = None) -> dict[str, Any]:
    return {"limit": limit, "offset": offset, "before": before, "after": after}


def _seconds(moment: Moment | None) -> float | None:
    """A moment in seconds since 1970; a `datetime` without a zone is local time, as everywhere in Python."""
    return moment if moment is None or isinstance(moment, (int, float)) else moment.timestamp()


async def _uploaded(upload: Awaitable[dict[str, Any]]) -> EventResponse:
    try:
        return EventResponse(True, data=await upload, event_name="workspace.file.uploaded")
    except (NotConnectedError, RefusedError, TimedOutError) as error:
        return refusal(error, "workspace.file.uploaded")


def _content(content: Content | None, text: str | None) -> Content:
    given = text if content is None else content
    if given is None:
        raise TypeError("a message needs content")
    return given
