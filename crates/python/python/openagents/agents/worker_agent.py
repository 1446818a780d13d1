"""Agents that react: say what happens on a message, a reply, a reaction or a file, and run."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from openagents import _native
from openagents.errors import InvalidInputError, NotConnectedError, OpenAgentsError
from openagents.models.agent_config import AgentConfig
from openagents.models.event import Event
from openagents.models.event_context import (
    ChannelMessageContext,
    EventContext,
    FileContext,
    ReactionContext,
    ReplyMessageContext,
    extract_mentions,
)
from openagents.models.event_response import EventResponse
from openagents.sdk.client import AgentClient
from openagents.sdk.workspace import FilePath, Workspace

if TYPE_CHECKING:
    import concurrent.futures

__all__ = [
    "ChannelMessageContext",
    "EventContext",
    "FileContext",
    "ReactionContext",
    "ReplyMessageContext",
    "WorkerAgent",
    "on_event",
]

logger = logging.getLogger("openagents")

# What hooks that are for certain events are called with.
_CONTEXTS: dict[str, type[EventContext]] = {
    "on_channel_post": ChannelMessageContext,
    "on_channel_mention": ChannelMessageContext,
    "on_channel_reply": ReplyMessageContext,
    "on_direct": EventContext,
    "on_reaction": ReactionContext,
    "on_file_received": FileContext,
}

# Messages looked through by `find_messages_by_sender`, and how many at once.
_MOST_SEARCHED = 10_000
_SEARCHED_AT_ONCE = 1_000

Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, object]])


def on_event(pattern: str) -> Callable[[Method], Method]:
    """Makes a method of a `WorkerAgent` the handler of events whose name matches the pattern.

    ```python
    class Watcher(WorkerAgent):
        @on_event("workspace.file.*")
        async def file_changed(self, context):
            print(context.incoming_event.payload["file_id"])
    ```

    Several handlers may share a pattern; they run in the order of their definition, before the hooks. Anything but an
    async method `(self, context)` is a `ValueError`.
    """

    def mark(method: Method) -> Method:
        name = getattr(method, "__name__", repr(method))
        if not inspect.iscoroutinefunction(method):
            raise ValueError(f"@on_event({pattern!r}): {name} must be an async method")
        taken = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
        if len(taken) != 2:
            raise ValueError(f"@on_event({pattern!r}): {name} must take (self, context)")
        patterns = [*getattr(method, "_openagents_patterns", ()), pattern]
        method._openagents_patterns = patterns  # type: ignore[attr-defined]
        return method

    return mark


class WorkerAgent:
    """An agent that reacts to what happens in its workspace. Every hook does nothing unless it is written.

    ```python
    class Helper(WorkerAgent):
        default_agent_id = "helper"

        async def on_startup(self):
            await self.post_to_channel("general", "Hello! Say help and I am there.")

        async def on_channel_post(self, context):
            if "help" in context.text:
                await self.reply_to_message(context.channel, context.message_id, "Here I am.")

        async def on_direct(self, context):
            await self.send_direct(context.source_id, f"You said: {context.text}")

    agent = Helper()
    agent.start(network_host="localhost", network_port=8700)
    agent.wait_for_stop()
    ```

    For every event, one after the other: the `@on_event` handlers that match, `react`, the hook of the event if it has
    one, `on_event`. Own messages, reactions and files are not seen unless `ignore_own_messages` is false. Events of one
    source are handled in order, those of different sources concurrently. What is sent to the source of an event from
    inside a hook is the answer to it. A hook that fails is logged and stops nothing.
    """

    default_agent_id: ClassVar[str | None] = None
    """The id, unless one is given; without it the name of the class in small letters."""
    ignore_own_messages: ClassVar[bool] = True
    auto_mention_response: ClassVar[bool] = True
    """Whether a mention calls `on_channel_mention`; if not, it is a post or a reply like any other."""
    default_channels: ClassVar[list[str]] = []
    """Channels that the agent joins at its start, with or without `#`; those that do not exist are made."""
    description: ClassVar[str] = ""
    capabilities: ClassVar[list[str]] = []
    metadata: ClassVar[dict[str, Any]] = {}
    auto_join_projects: ClassVar[bool] = False
    max_concurrent_projects: ClassVar[int] = 3
    project_keywords: ClassVar[list[str]] = []
    project_completion_timeout: ClassVar[int] = 3600
    shutdown_grace: ClassVar[float] = 10.0
    """How long running hooks, and then `on_shutdown`, may take when the agent leaves, in seconds."""
    max_file_bytes: ClassVar[int] = 100 * 1024 * 1024
    """The largest file that is fetched for `on_file_received`; of a larger one `file_path` is a `FileError`."""

    def __init__(
        self,
        agent_id: str | None = None,
        agent_config: AgentConfig | None = None,
        **ignored: Any,
    ) -> None:
        own_name = self.default_agent_id or type(self).__name__.lower()
        self._client = AgentClient(agent_id or own_name)
        self.agent_config = agent_config
        """What was given; this package brings no language model."""
        self._handlers = self._decorated()
        self._ready = asyncio.Event()
        self._stopped: asyncio.Event | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._scheduled: set[asyncio.Task[Any]] = set()
        self._thread: _LoopThread | None = None
        if ignored:
            logger.debug("WorkerAgent: without effect here: %s", ", ".join(ignored))

    # What others write.

    async def on_startup(self) -> None:
        """The agent has joined. Events are handled from when this has returned."""

    async def on_shutdown(self) -> None:
        """The agent is about to leave and can still send."""

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        """Somebody posted in a channel."""

    async def on_channel_mention(self, context: ChannelMessageContext) -> None:
        """Somebody mentioned this agent in a channel. No other hook is called for the message."""

    async def on_channel_reply(self, context: ReplyMessageContext) -> None:
        """Somebody replied to a message in a channel."""

    async def on_direct(self, context: EventContext) -> None:
        """Somebody wrote to this agent: a direct message, or a free payload."""

    async def on_reaction(self, context: ReactionContext) -> None:
        """Somebody reacted to a message, or took a reaction back."""

    async def on_file_received(self, context: FileContext) -> None:
        """Somebody shared a file with everyone, in a channel, or with this agent."""

    async def on_event(self, event: Event) -> None:
        """Anything happened; called last."""

    async def react(self, context: EventContext) -> None:
        """Anything happened; called before the hook of the event. For agents that do their own routing."""

    # Starting and stopping.

    def start(
        self,
        network_host: str | None = None,
        network_port: int | None = None,
        network_id: str | None = None,
        url: str | None = None,
        metadata: dict[str, Any] | None = None,
        password_hash: str | None = None,
        **options: Any,
    ) -> Any:
        """Joins the workspace and works in the background.

        Outside a loop it blocks until the agent has joined and `on_startup` has returned; hooks run on a loop in a
        thread of their own. Inside a loop it may be awaited, and hooks run on that loop.

        `url` is `grpc://`, `http://`, `grpcs://`, `https://` with host and port. Other keywords are those of
        `AgentClient.connect_to_server`.

        Raises `OpenAgentsError` when the workspace cannot be joined.
        """
        starting = self.async_start(network_host, network_port, network_id, url, metadata, password_hash, **options)
        if _in_loop():
            return asyncio.ensure_future(starting)
        if self._thread is not None:
            starting.close()
            raise RuntimeError("the agent was started already")
        thread = self._thread = _LoopThread()
        try:
            thread.run(starting)
        except BaseException:
            self._thread = None
            thread.close()
            raise
        atexit.register(self._stop_at_exit)
        return None

    def wait_for_stop(self) -> Any:
        """Waits until the agent is stopped, or its session ends for good; Ctrl-C stops it. May be awaited in a loop."""
        if _in_loop():
            return asyncio.ensure_future(self._until_stopped_anywhere())
        if self._thread is None:
            return None
        try:
            self._thread.run(self._until_stopped())
        except KeyboardInterrupt:
            pass
        self.stop()
        return None

    def stop(self) -> Any:
        """Leaves gracefully: hooks that run are waited for, `on_shutdown` is called, others learn of it.

        What arrived and was not begun comes again at the next start. May be awaited inside a loop; from inside a hook it
        asks and does not wait, since the hook would wait for itself.
        """
        if self._works_elsewhere():
            return asyncio.ensure_future(asyncio.to_thread(self.stop))
        if _in_loop():
            # In the thread of the agent: it ends when whoever waits for it notices.
            return asyncio.ensure_future(self._stop_from(asyncio.current_task()))
        thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self._stop_at_exit)
            try:
                thread.run(self.async_stop())
            finally:
                thread.close()
        return None

    async def async_start(
        self,
        network_host: str | None = None,
        network_port: int | None = None,
        network_id: str | None = None,
        url: str | None = None,
        metadata: dict[str, Any] | None = None,
        password_hash: str | None = None,
        **options: Any,
    ) -> None:
        """Joins the workspace from inside a loop; see `start`."""
        if url is not None:
            network_host, network_port, secure = _address(url)
            options.setdefault("use_tls", secure)
        if self._stopped is not None and not self._stopped.is_set():
            raise RuntimeError("the agent was started already")
        self._ready = asyncio.Event()
        self._stopped = asyncio.Event()
        self._leaving = None
        # `*` selects everything; what the handlers name besides makes the client follow the workspace itself.
        named = [pattern for pattern, _ in self._handlers]
        self.client.unregister_event_handler(self._take)
        self.client.register_event_handler(self._take, ["*", *named])
        try:
            joined = await self.client.connect_to_server(
                network_host,
                network_port,
                network_id=network_id,
                metadata=self._describe(metadata),
                password_hash=password_hash,
                **options,
            )
            if not joined:
                raise self.client.connect_error or NotConnectedError("could not connect", code="unreachable")
        except BaseException:
            self._stopped = None
            self.client.unregister_event_handler(self._take)
            raise
        self._client._dispatcher.on_end = self._stopped.set
        for channel in self.default_channels:
            await self._join(channel)
        await self._call("on_startup", self.on_startup())
        self._ready.set()

    async def async_stop(self) -> None:
        """Leaves gracefully from inside a loop; see `stop`."""
        if self._works_elsewhere():
            await asyncio.to_thread(self.stop)
            return
        await self._stop_from(asyncio.current_task())

    async def _stop_from(self, asking: asyncio.Task[Any] | None) -> None:
        if self._stopped is None:
            return
        if self._leaving is None:
            self._leaving = asyncio.ensure_future(self._leave())
        if asking not in self._running:
            await asyncio.shield(self._leaving)

    async def _leave(self) -> None:
        for task in self._scheduled:
            task.cancel()
        quiet = asyncio.ensure_future(self.client.drain())
        # What still waits for the start is not to be handled any more.
        self._ready.set()
        _, late = await asyncio.wait([quiet], timeout=self.shutdown_grace)
        if late:
            logger.warning("%s: %d hooks did not return in time and are cancelled", self.agent_id, len(self._running))
            for task in self._running:
                task.cancel()
        try:
            await asyncio.wait_for(self._run(self._call("on_shutdown", self.on_shutdown())), self.shutdown_grace)
        except asyncio.TimeoutError:
            logger.warning("%s: on_shutdown did not return in time", self.agent_id)
        await self.client.disconnect()
        quiet.cancel()
        self.client.unregister_event_handler(self._take)
        if self._stopped is not None:
            self._stopped.set()

    async def _until_stopped(self) -> None:
        if self._stopped is not None:
            await self._stopped.wait()

    async def _until_stopped_anywhere(self) -> None:
        if self._thread is not None and self._works_elsewhere():
            await asyncio.wrap_future(self._thread.begin(self._until_stopped()))
            await asyncio.to_thread(self.stop)
        else:
            await self._until_stopped()

    def _works_elsewhere(self) -> bool:
        """Whether this is a loop, and the agent has another one in a thread of its own."""
        return self._thread is not None and _in_loop() and not self._thread.is_current()

    def _stop_at_exit(self) -> None:
        try:
            self.stop()
        except OpenAgentsError as error:
            logger.debug("%s could not leave gracefully: %s", self.agent_id, error)

    def _describe(self, given: dict[str, Any] | None) -> dict[str, Any]:
        own: dict[str, Any] = dict(self.metadata)
        if self.description:
            own.setdefault("description", self.description)
        if self.capabilities:
            own.setdefault("capabilities", list(self.capabilities))
        return {**own, **(given or {})}

    async def _join(self, name: str) -> None:
        channel = self.workspace().channel(name)
        try:
            await channel.join()
        except OpenAgentsError as error:
            if error.code != "channel_not_found":
                logger.warning("%s could not join %s: %s", self.agent_id, name, error)
                return
            try:
                await self.workspace().create_channel(channel.name)
            except OpenAgentsError as error:
                logger.warning("%s could not make %s: %s", self.agent_id, name, error)

    # Handling events.

    def _decorated(self) -> list[tuple[str, Callable[[EventContext], Awaitable[object]]]]:
        """The handlers of this class, those of base classes first, in the order of their definition."""
        names = dict.fromkeys(name for base in reversed(type(self).__mro__) for name in vars(base))
        found = []
        for name in names:
            method = getattr(type(self), name, None)
            for pattern in getattr(method, "_openagents_patterns", ()):
                found.append((pattern, getattr(self, name)))
        return found

    async def _take(self, event: Event) -> None:
        await self._ready.wait()
        if self._leaving is not None:
            # It comes again at the next start.
            raise asyncio.CancelledError
        await self._run(self._handle(event))

    async def _run(self, hooks: Coroutine[Any, Any, None]) -> None:
        """Runs hooks; whoever asks from inside to leave is not waited for."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await hooks
        finally:
            self._running.discard(task)

    async def _handle(self, event: Event) -> None:
        hook = _native.hook_of(event, self.agent_id, self.auto_mention_response)
        if hook is not None and self.ignore_own_messages and event.source_id == self.agent_id:
            return
        shared: dict[str, Any] = {"agent_id": self.agent_id, "network_id": self._client.workspace_name or ""}
        context = EventContext(event, **shared)
        for pattern, handler in self._handlers:
            if event.matches_pattern(pattern):
                await self._call(pattern, handler(context))
        if self._writes("react"):
            await self._call("react", self.react(context))
        if hook is not None and self._writes(hook):
            await self._call(hook, self._call_hook(hook, _CONTEXTS[hook](event, **shared)))
        if self._writes("on_event"):
            await self._call("on_event", self.on_event(event))

    async def _call_hook(self, hook: str, context: EventContext) -> None:
        if isinstance(context, FileContext):
            await self._fetch(context)
        await getattr(self, hook)(context)

    async def _fetch(self, context: FileContext) -> None:
        if self.max_file_bytes < context.file_size:
            # `file_path` says so.
            return
        folder = tempfile.mkdtemp(prefix="openagents-")
        weakref.finalize(context, shutil.rmtree, folder, ignore_errors=True)
        # The name is for showing; only its ending may mean something to programs.
        ending = os.path.splitext(context.file_name)[1]
        path = os.path.join(folder, f"file{ending if ending[1:].isalnum() else ''}")
        context.file_path = await self.workspace().download_file(context.file_id, path)

    def _writes(self, name: str) -> bool:
        """Whether a hook is written at all."""
        return getattr(type(self), name) is not getattr(WorkerAgent, name) or name in vars(self)

    async def _call(self, name: str, hook: Awaitable[object]) -> None:
        try:
            await hook
        except Exception:
            logger.exception("%s: %s failed", self.agent_id, name)

    # Acting.

    @property
    def client(self) -> AgentClient:
        """The client behind the agent."""
        return self._client

    @property
    def agent_id(self) -> str:
        """The id of the agent."""
        return self._client.agent_id

    def workspace(self) -> Workspace:
        """The workspace: channels, agents and files."""
        return self._client.workspace()

    async def post_to_channel(
        self, channel: str, text: str | None = None, content: dict[str, Any] | None = None, **options: Any
    ) -> EventResponse:
        """Posts text, or a dictionary as `content`."""
        return await self.workspace().channel(channel).post(_either(text, content), **options)

    async def reply_to_message(
        self,
        channel: str,
        message_id: str,
        text: str | None = None,
        content: dict[str, Any] | None = None,
        **options: Any,
    ) -> EventResponse:
        """Replies to a message."""
        return await self.workspace().channel(channel).reply(message_id, _either(text, content), **options)

    async def send_direct(
        self,
        agent_id: str | None = None,
        text: str | None = None,
        content: dict[str, Any] | None = None,
        *,
        to: str | None = None,
        **options: Any,
    ) -> EventResponse:
        """Sends a direct message."""
        target = agent_id if to is None else to
        if target is None:
            raise TypeError("send_direct() needs agent_id")
        return await self.workspace().agent(target).send(_either(text, content), **options)

    async def react_to_message(
        self, channel: str, message_id: str, reaction: str, action: str = "add"
    ) -> EventResponse:
        """Reacts to a message, or takes the reaction back with `action="remove"`."""
        return await self.workspace().channel(channel).react_to_message(message_id, reaction, action)

    async def upload_file(self, channel: str, file_path: FilePath, filename: str | None = None) -> str | None:
        """Shares a file in a channel and returns its id; `None` if the workspace did not take it."""
        response = await self.workspace().channel(channel).upload_file(file_path, filename=filename)
        return str(response.data["file_id"]) if response.success else None

    async def send_event(self, event: Event) -> EventResponse:
        """Sends any event."""
        return await self._client.send_event(event)

    async def get_channel_list(self) -> list[str]:
        """The names of the channels."""
        return await self.workspace().channels()

    async def get_agent_list(self) -> list[str]:
        """The ids of the agents that are online."""
        return await self.workspace().agents()

    async def has_permission(self, name: str) -> bool:
        """Whether this agent has a permission, such as `delete_posts`."""
        return await self._client.has_permission(name)

    def is_mentioned(self, text: str) -> bool:
        """Whether a text mentions this agent."""
        return self.agent_id in extract_mentions(text)

    def extract_mentions(self, text: str) -> list[str]:
        """The ids after `@` in a text."""
        return extract_mentions(text)

    async def schedule_task(
        self, delay: float, coro: Callable[[], Awaitable[object]] | Awaitable[object]
    ) -> asyncio.Task[None]:
        """Runs a coroutine, or a function that makes one, after a time; it is cancelled when the agent stops."""

        async def later() -> None:
            await asyncio.sleep(delay)
            await self._call("a scheduled task", coro() if callable(coro) else coro)

        task = asyncio.create_task(later())
        self._scheduled.add(task)
        task.add_done_callback(self._scheduled.discard)
        return task

    async def get_channel_messages(self, channel: str, limit: int = 50, offset: int = 0) -> dict[str, Any]:
        """Messages of a channel, newest first: `messages`, `total_count`, `has_more`."""
        return await _page(self.workspace().channel(channel)._native, limit, offset)

    async def get_direct_messages(self, with_agent: str, limit: int = 50, offset: int = 0) -> dict[str, Any]:
        """Messages of the conversation with an agent, newest first: `messages`, `total_count`, `has_more`."""
        return await _page(self.workspace().agent(with_agent)._native, limit, offset)

    async def get_recent_channel_messages(self, channel: str, count: int = 10) -> list[dict[str, Any]]:
        """The newest messages of a channel, newest first."""
        return await self.workspace().channel(channel).get_messages(limit=count)

    async def get_recent_direct_messages(self, with_agent: str, count: int = 10) -> list[dict[str, Any]]:
        """The newest messages of the conversation with an agent, newest first."""
        return await self.workspace().agent(with_agent).get_messages(limit=count)

    async def find_messages_by_sender(
        self, where: str, sender_id: str, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The newest messages by one agent, newest first, at most `limit`, among the newest 10,000 of a place.

        `where` is a channel with `#`, or an agent.
        """
        workspace = self.workspace()
        place = workspace.channel(where) if where.startswith(("#", "channel:")) else workspace.agent(where)
        found: list[dict[str, Any]] = []
        before, searched = None, 0
        while searched < _MOST_SEARCHED:
            page = await place._native.get_messages({"limit": _SEARCHED_AT_ONCE, "before": before})
            found += [message for message in page["messages"] if message["sender_id"] == sender_id]
            searched += len(page["messages"])
            if limit <= len(found) or not page["has_more"] or not page["messages"]:
                break
            before = page["messages"][-1]["sequence"]
        return found[:limit]

    def __repr__(self) -> str:
        state = "connected" if self._client.is_connected else "not connected"
        return f"<{type(self).__name__} {self.agent_id!r}, {state}>"


class _LoopThread:
    """A loop in a thread of its own, for agents that are started outside any loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="openagents-worker", daemon=True)
        self._thread.start()

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def begin(self, coroutine: Coroutine[Any, Any, object]) -> concurrent.futures.Future[object]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self.begin(coroutine).result()

    def close(self) -> None:
        async def end() -> None:
            current = asyncio.current_task()
            left = [task for task in asyncio.all_tasks() if task is not current]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _page(native: Any, limit: int, offset: int) -> dict[str, Any]:
    page: dict[str, Any] = await native.get_messages({"limit": limit, "offset": offset, "count": True})
    return page


def _either(text: str | None, content: dict[str, Any] | None) -> str | dict[str, Any]:
    if text is not None:
        return text
    if content is None:
        raise TypeError("a message needs text or content")
    return content


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _address(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS is asked for, of a URL as the documentation writes them."""
    parts = urlsplit(url)
    secure = {"grpc": False, "http": False, "ws": False, "grpcs": True, "https": True, "wss": True}.get(parts.scheme)
    if secure is None or not parts.hostname:
        raise InvalidInputError(
            f"{url!r} is no address: published networks cannot be looked up, name a host such as http://localhost:8700",
            code="invalid_host",
            field="url",
        )
    return parts.hostname, parts.port or (443 if secure else 8700), secure
