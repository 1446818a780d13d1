"""The client: connect to a workspace, send, wait, react."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal

from openagents import _native
from openagents._dispatch import Dispatcher, Handler
from openagents.errors import InvalidInputError, OpenAgentsError
from openagents.models.event import Event
from openagents.models.event_response import EventResponse, refusal
from openagents.sdk.workspace import Workspace

__all__ = ["AgentClient", "Connector", "EventStream"]

logger = logging.getLogger("openagents")

DEFAULT_PORT = 8700

Backlog = Literal["all", "none"] | dict[str, int]

# Clients whose handlers work although nobody else may hold them.
_working: set[AgentClient] = set()


class Connector:
    """The link of a client to its server."""

    def __init__(self, native: _native.Client, host: str, port: int) -> None:
        self._native = native
        self.host = host
        self.port = port

    @property
    def is_connected(self) -> bool:
        """Whether the client is connected now; `False` while it reconnects."""
        return self._native.is_connected

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else "not connected"
        return f"<Connector {self.host}:{self.port}, {state}>"


class AgentClient:
    """An agent's way into a workspace.

    ```python
    client = AgentClient(agent_id="my-agent")
    await client.connect_to_server("localhost", 8700, metadata={"name": "My Agent"})
    await client.workspace().channel("general").post("Hello!")
    await client.disconnect()
    ```

    Used with `async with`, it disconnects at the end. Without an id it gets a unique one from the workspace when it
    connects.

    Once connected it looks after the connection by itself: it reconnects, goes on where it was, and sends again what
    was not acknowledged. It may be used from several loops and threads. A client with handlers lives until it is
    disconnected; one without goes with its last reference. After a fork make a new one.
    """

    def __init__(self, agent_id: str | None = None, mod_adapters: Sequence[Any] | None = None) -> None:
        self._native = _native.Client(agent_id)
        self._dispatcher = Dispatcher(self._native)
        self._workspace: Workspace | None = None
        self.connector: Connector | None = None
        """`None` before the first connection."""
        self.connect_error: OpenAgentsError | None = None
        """Why the latest `connect_to_server` gave `False`."""
        if mod_adapters:
            logger.debug("mod adapters are not needed here and are ignored")

    @property
    def agent_id(self) -> str:
        """The id of this agent; empty until a client without one has connected."""
        return self._native.agent_id

    async def connect_to_server(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        metadata: dict[str, Any] | None = None,
        token: str | None = None,
        use_tls: bool = False,
        password_hash: str | None = None,
        network_id: str | None = None,
        network_host: str | None = None,
        network_port: int | None = None,
        enforce_transport_type: str | None = None,
        max_message_size: int | None = None,
        skip_detection: bool = False,
        ssl_ca_cert: str | os.PathLike[str] | None = None,
        ssl_client_cert: str | os.PathLike[str] | None = None,
        ssl_client_key: str | os.PathLike[str] | None = None,
        ssl_verify: bool = True,
        timeout: float | None = 30.0,
        backlog: Backlog | None = None,
        after: int | None = None,
        watching: bool = False,
    ) -> bool:
        """Connects to a server and joins its workspace.

        ```python
        await client.connect_to_server("localhost", 8700)
        await client.connect_to_server("example.org", 443, token="…", metadata={"name": "Reviewer"})
        ```

        Port 443 and a host with `https://` or `wss://` mean TLS, a host with `http://` or `ws://` means none;
        `use_tls=True` asks for it elsewhere. `metadata` is what the agent says of itself: `name`, `capabilities`,
        `role` and whatever else.

        `backlog` says how much of what was missed is wanted: `"all"`, `"none"`, or a dictionary with `max_events` and
        `max_age_seconds` of the channels; direct messages and mentions come unless it is `"none"`. `after` is the
        position (`event.sequence`) up to which everything is handled already. `watching=True` looks on: it neither moves
        the position of the agent nor shows it as online.

        `False` when the server cannot be reached or says no; `connect_error` and the log tell why. Connecting again
        leaves the first session; handlers and waits go over to the new one.

        Raises `InvalidInputError` when an argument breaks a rule.
        """
        host = _one_of("host", host, network_host)
        port = _one_of("port", port, network_port)
        if host is None:
            self.connect_error = InvalidInputError(
                "published networks cannot be looked up: name a host and a port", code="invalid_field", field="host"
            )
            logger.warning("could not connect: %s", self.connect_error)
            return False
        port = DEFAULT_PORT if port is None else port
        if not 0 < port < 1 << 16:
            raise InvalidInputError(f"port must be 1 to 65535, not {port}", code="invalid_field", field="port")
        _log_ignored(
            network_id=network_id,
            enforce_transport_type=enforce_transport_type,
            max_message_size=max_message_size,
            skip_detection=skip_detection or None,
        )
        self._dispatcher.activate()
        try:
            await self._native.connect(
                host,
                port,
                {
                    "metadata": metadata,
                    "token": token,
                    "use_tls": use_tls,
                    "password_hash": password_hash,
                    "ssl_ca_cert": ssl_ca_cert,
                    "ssl_client_cert": ssl_client_cert,
                    "ssl_client_key": ssl_client_key,
                    "ssl_verify": ssl_verify,
                    "timeout": timeout,
                    "session": {"backlog": _backlog(backlog), "after": after, "watching": watching},
                },
            )
        except OpenAgentsError as error:
            self._left()
            if isinstance(error, InvalidInputError):
                raise
            self.connect_error = error
            logger.warning("could not connect %s to %s:%s: %s", self.agent_id or "an agent", host, port, error)
            return False
        except BaseException:
            self._left()
            raise
        self.connect_error = None
        self.connector = Connector(self._native, host, port)
        _working.add(self)
        return True

    async def connect(self, host: str | None = None, port: int | None = None, **options: Any) -> bool:
        """The same as `connect_to_server`."""
        return await self.connect_to_server(host, port, **options)

    async def disconnect(self) -> bool:
        """Leaves the workspace gracefully; other agents learn of it. `False` if it was not connected.

        Waits and streams end. Handlers stay registered for another connection; what was not handled comes again then.
        """
        left = await self._native.disconnect()
        self._left()
        return left

    async def drain(self) -> None:
        """Begins no handler any more, and waits until those that run have returned: the first half of leaving in good order.

        What was not begun comes again with the next connection. Everything can still be sent, and waits still get their
        answers. Called from a handler, it does not wait for that one.
        """
        await self._dispatcher.drain()

    async def closed(self) -> OpenAgentsError | None:
        """Waits until the session is over: left by `disconnect`, or ended for good by the workspace, which says why.

        ```python
        reason = await client.closed()
        if reason is not None:
            print("dismissed:", reason.code)
        ```

        Another connection in its place is not the end, and without a session it is over already.
        """
        return await self._native.closed()

    def _left(self) -> None:
        if not self._native.is_connected:
            self._dispatcher.deactivate()
            _working.discard(self)

    async def __aenter__(self) -> AgentClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    @property
    def is_connected(self) -> bool:
        """Whether it is connected now; `False` while it reconnects."""
        return self._native.is_connected

    @property
    def workspace_name(self) -> str | None:
        """The name of the workspace; `None` before the first connection."""
        return self._native.workspace_name

    @property
    def head(self) -> int | None:
        """The position of the newest event of the workspace, as far as this client knows; `None` before it connected."""
        return self._native.head

    def workspace(self) -> Workspace:
        """The workspace: channels and agents by name."""
        if self._workspace is None:
            self._workspace = Workspace(self)
        return self._workspace

    def register_event_handler(
        self,
        handler: Handler,
        patterns: str | Iterable[str] | None = None,
        *,
        event_patterns: str | Iterable[str] | None = None,
    ) -> None:
        """Calls a handler for every event whose name matches one of the patterns; without patterns for every event.

        ```python
        async def on_message(event):
            print(f"{event.source_id}: {event.text}")

        client.register_event_handler(on_message, ["channel.message.*"])
        ```

        The handler is a coroutine function or a plain one; what it returns is ignored. It runs on the loop in which it
        is registered, else in that of the connection. Events of one source are handled one after the other, those of
        different sources concurrently; several handlers that want the same event run in the order of their
        registration. A handler that fails is logged and stops nobody. An event is acknowledged when its handlers have
        returned. What a handler sends to the agent whose event it handles is linked to that event as its answer.
        """
        if not callable(handler):
            raise InvalidInputError(
                f"handler must be a function, not {type(handler).__name__}", code="invalid_field", field="handler"
            )
        self._dispatcher.register(handler, _patterns(patterns if event_patterns is None else event_patterns))

    def unregister_event_handler(self, handler: Handler) -> bool:
        """Calls the handler no more; `False` if it was not registered."""
        return self._dispatcher.unregister(handler)

    async def subscribe(self, pattern: str | Iterable[str], handler: Handler) -> None:
        """The same as `register_event_handler`, pattern first."""
        self.register_event_handler(handler, pattern)

    async def wait_event(
        self, condition: Callable[[Event], object] | None = None, timeout: float | None = 30.0
    ) -> Event | None:
        """The next event for which the condition is true; `None` after the time, or when the client disconnects.

        ```python
        event = await client.wait_event(lambda e: e.event_name == "channel.message.posted", timeout=60.0)
        ```

        It also looks back at what arrived since this client last sent something or waited, at most 5 s, so that
        nothing is lost between sending and waiting. Handlers see the event as well. `timeout=None` waits for ever.
        """
        if timeout is not None and timeout != timeout:
            raise InvalidInputError("timeout is not a number", code="invalid_field", field="timeout")
        reader = self._native.look_out()
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            while True:
                while (event := reader.take()) is not None:
                    if (condition is None or condition(event)) and reader.claim():
                        return event
                left = None if deadline is None else max(0.0, deadline - loop.time())
                more = await reader.wait(left)
                if not more:
                    if more is False:
                        reader.give_up()
                    return None
        finally:
            reader.close()

    def events(self, patterns: str | Iterable[str] | None = None) -> EventStream:
        """Every event from now on, for `async for`; with patterns those that match one.

        ```python
        async for event in client.events("channel.message.*"):
            print(event.text)
        ```

        An event is acknowledged when the next one is asked for. The stream ends when the client disconnects; leaving
        the loop early and dropping the stream unsubscribes.
        """
        return EventStream(self._native.events([] if patterns is None else _patterns(patterns)))

    async def send_event(self, event: Event, timeout: float | None = 30.0) -> EventResponse:
        """Sends any event, standard or custom, to an agent, a channel, everyone or the workspace itself.

        ```python
        await client.send_event(Event(
            event_name="custom.task.completed",
            destination_id="channel:general",
            payload={"task": "data processing", "result": "success"},
        ))
        ```

        While the client reconnects it waits. Sending the same event again changes nothing: its id is known.
        """
        return EventResponse._of(await self._native.send_event(event, timeout))

    async def send_events(self, events: Iterable[Event], timeout: float | None = 30.0) -> list[EventResponse]:
        """Sends many events, in this order and without waiting for each; one answer for each."""
        return [EventResponse._of(answer) for answer in await self._native.send_events(list(events), timeout)]

    async def send_agent_message(
        self,
        agent_id: str | None = None,
        payload: dict[str, Any] | None = None,
        *,
        destination_id: str | None = None,
    ) -> EventResponse:
        """Sends a free payload to one agent, as the event `agent.message`."""
        target = _one_of("agent_id", agent_id, destination_id)
        if target is None:
            raise TypeError("send_agent_message() needs agent_id")
        return EventResponse._of(await self._native.send_agent_message(target, {} if payload is None else payload))

    async def list_agents(self) -> list[dict[str, Any]]:
        """The agents that are connected, this one included.

        Each has `id` (also `agent_id`), `status`, `capabilities`, `metadata`, `last_seen`, and `name` if it gave one.
        """
        return await self._native.list_agents()

    async def find_agents(self, capability: str) -> list[dict[str, Any]]:
        """The agents that are connected and have this among their capabilities."""
        return await self._native.list_agents(capability)

    async def list_mods(self) -> list[dict[str, Any]]:
        """The extensions of the workspace: `name`, `version`, `description`, `requires_adapter`."""
        return await self._native.list_mods()

    async def set_status(self, status: str) -> dict[str, Any]:
        """Tells others what this agent does now, such as `busy`; `online` takes it back."""
        return await self._native.set_status(status)

    async def set_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Tells others something else of this agent: all of its metadata."""
        return await self._native.set_metadata(metadata)

    async def get_permissions(self) -> dict[str, Any]:
        """What this agent may do: `role`, `group`, `permissions`."""
        return await self._native.permissions()

    async def has_permission(self, name: str) -> bool:
        """Whether this agent has a permission, such as `delete_posts`; `False` when it cannot be found out."""
        return await self._native.has_permission(name)

    async def subscribe_events(
        self, event_patterns: str | Iterable[str], channels: Iterable[str] | None = None
    ) -> EventResponse:
        """Narrows what the workspace sends to this agent to what some subscription selects.

        Answers to its own messages always come. `data["subscription_id"]` ends it; until then it stays with the agent,
        over restarts too.
        """
        names = None if channels is None else list(channels)
        try:
            made = await self._native.subscribe_events(_patterns(event_patterns), names)
        except OpenAgentsError as error:
            return refusal(error)
        return EventResponse(True, data=made)

    async def unsubscribe_events(self, subscription_id: str) -> EventResponse:
        """Ends a subscription."""
        try:
            await self._native.unsubscribe_events(subscription_id)
        except OpenAgentsError as error:
            return refusal(error)
        return EventResponse(True)

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else "not connected"
        return f"<AgentClient {self.agent_id!r}, {state}>"


class EventStream(AsyncIterator[Event]):
    """Events as they come; from `AgentClient.events`."""

    def __init__(self, reader: _native.Reader) -> None:
        self._reader = reader

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while True:
            event = self._reader.take()
            if event is not None:
                return event
            if await self._reader.wait() is None:
                raise StopAsyncIteration

    async def aclose(self) -> None:
        """Unsubscribes."""
        self._reader.close()

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()


def _one_of(name: str, given: Any, other: Any) -> Any:
    if given is not None and other is not None and given != other:
        raise TypeError(f"{name} is given twice")
    return other if given is None else given


def _backlog(wanted: Backlog | None) -> dict[str, Any] | None:
    if isinstance(wanted, str):
        return {"mode": wanted}
    return None if wanted is None else {"mode": "limited", **wanted}


def _patterns(patterns: str | Iterable[str] | None) -> list[str]:
    if patterns is None:
        return ["*"]
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _log_ignored(**given: object) -> None:
    ignored = [name for name, value in given.items() if value is not None]
    if ignored:
        logger.debug("connect_to_server: without effect here: %s", ", ".join(ignored))

