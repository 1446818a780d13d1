"""Handlers: which there are, and how they are called on their loops."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from openagents import _native
from openagents.models.event import Event

logger = logging.getLogger("openagents")

Handler = Callable[[Event], object]

# How long a loop whose handler was cancelled begins nothing new: a loop that ends is gone by then.
_PAUSE = 1.0


class _Entry:
    """A registered handler. It runs on the loop that ran when it was registered, or on that of the connection."""

    __slots__ = ("context", "handler", "loop", "patterns")

    def __init__(self, handler: Handler, patterns: list[str]) -> None:
        self.handler = handler
        self.patterns = patterns
        self.loop = _running_loop()
        self.context = contextvars.copy_context()


class Dispatcher:
    """The handlers of one client.

    While it is active, each loop that has handlers has a feed, which hands it events in batches.
    """

    def __init__(self, native: _native.Client) -> None:
        self._native = native
        self._entries: dict[int, _Entry] = {}
        self._feeds: dict[asyncio.AbstractEventLoop, _Feed] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        self._next_key = 0
        self._drained = False
        self.on_end: Callable[[], object] | None = None
        """Called on a loop with handlers when the session ended for good."""

    def register(self, handler: Handler, patterns: list[str]) -> None:
        _native.check_patterns(patterns)
        entry = _Entry(handler, patterns)
        self._next_key += 1
        self._entries[self._next_key] = entry
        if self._home is not None:
            entry.loop = entry.loop or self._home
            self._update(entry.loop)

    def unregister(self, handler: Handler) -> bool:
        found = [key for key, entry in self._entries.items() if entry.handler == handler]
        for loop in {self._entries.pop(key).loop for key in found}:
            if loop is not None and loop in self._feeds:
                self._update(loop)
        return bool(found)

    def activate(self) -> None:
        """A connection is about to be made from the running loop."""
        self._home = asyncio.get_running_loop()
        self._drained = False
        for over in [loop for loop, feed in self._feeds.items() if loop.is_closed() or feed.native.stopped]:
            self._feeds.pop(over).native.close()
        for entry in self._entries.values():
            if entry.loop is None or entry.loop.is_closed():
                entry.loop = self._home
        for loop in {entry.loop for entry in self._entries.values()}:
            if loop is not None:
                self._update(loop)

    async def drain(self) -> None:
        """Begins no handler any more in this session, and waits until those that run have returned."""
        self._drained = True
        feeds = list(self._feeds.values())
        for feed in feeds:
            feed.native.stop()
        await asyncio.gather(*(feed.quiet() for feed in feeds))

    def deactivate(self) -> None:
        """There is no connection: nothing keeps the client alive any more."""
        self._home = None
        for feed in self._feeds.values():
            feed.native.close()
        self._feeds.clear()

    def handler(self, key: int) -> _Entry | None:
        return self._entries.get(key)

    def forget(self, feed: _Feed) -> None:
        """Nothing comes for this loop any more."""
        feed.native.close()
        if self._feeds.get(feed.loop) is feed:
            del self._feeds[feed.loop]
            if self.on_end is not None:
                self.on_end()

    def _update(self, loop: asyncio.AbstractEventLoop) -> None:
        """Brings the feed of a loop up to date, on its own thread."""
        if loop is _running_loop():
            self._update_here(loop)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self._update_here, loop)

    def _update_here(self, loop: asyncio.AbstractEventLoop) -> None:
        wanted = [(key, entry.patterns) for key, entry in self._entries.items() if entry.loop is loop]
        feed = self._feeds.get(loop)
        if not wanted:
            if feed is not None:
                self._feeds.pop(loop).native.dismiss()
            return
        if self._home is None or self._drained:
            return
        if feed is None or feed.native.ended:
            feed = self._feeds[loop] = _Feed(self, self._native, loop, wanted)
        else:
            feed.native.set_handlers(wanted)


class _Feed:
    """The events for the handlers of one loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        native: _native.Client,
        loop: asyncio.AbstractEventLoop,
        handlers: list[tuple[int, list[str]]],
    ) -> None:
        self.loop = loop
        self._dispatcher = dispatcher
        self._tasks: set[asyncio.Task[None]] = set()
        self.native = native.feed(handlers, self._begin, self._ended)

    def _begin(self, lane: _native.Lane) -> None:
        task = self.loop.create_task(self._work(lane), name="openagents-handlers")
        self._tasks.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # What ends the program, such as `SystemExit`: the loop has raised it already.
            task.exception()

    def _ended(self) -> None:
        self._dispatcher.forget(self)

    async def quiet(self) -> None:
        """Waits, in whichever loop, until no handler runs but the one that calls this."""
        if self.loop is asyncio.get_running_loop():
            await self._quiet()
        elif self.loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._quiet(), self.loop))

    async def _quiet(self) -> None:
        running = self._tasks - {asyncio.current_task()}
        if running:
            await asyncio.wait(running)

    async def _work(self, lane: _native.Lane) -> None:
        """Handles the events of one source, one after the other."""
        handler_of = self._dispatcher.handler
        set_current = _native.current_event.set
        try:
            for event, keys in lane:
                for key in keys:
                    entry = handler_of(key)
                    if entry is None:
                        continue
                    context = entry.context.copy()
                    try:
                        context.run(set_current, event)
                        outcome = context.run(entry.handler, event)
                        if outcome is None:
                            continue
                        if inspect.iscoroutine(outcome):
                            try:
                                waiting = context.run(outcome.send, None)
                            except StopIteration:
                                continue
                            # This may take long; what is handled already need not wait for it.
                            lane.flush()
                            await _Resumed(context, outcome, waiting)
                        elif isinstance(outcome, Awaitable):
                            lane.flush()
                            await outcome
                    except Exception:
                        logger.exception(
                            "a handler failed: %r on %s (%s)", entry.handler, event.event_name, event.event_id
                        )
        except asyncio.CancelledError:
            # Usually the loop ends. If it does not, what was cancelled counts as handled and the rest goes on; where
            # nothing more is to be handled, it comes again.
            if not self.native.stopped:
                self.native.pause()
                self.loop.call_later(_PAUSE, self._go_on, lane)
            raise

    def _go_on(self, lane: _native.Lane) -> None:
        self.native.resume()
        self._begin(lane)


class _Resumed:
    """The rest of a coroutine that was begun and waits, in a context of its own."""

    __slots__ = ("_context", "_coroutine", "_waiting")

    def __init__(
        self, context: contextvars.Context, coroutine: Coroutine[Any, Any, object], waiting: object
    ) -> None:
        self._context = context
        self._coroutine = coroutine
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, None]:
        waiting = self._waiting
        while True:
            try:
                value = yield waiting
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:
                step: Callable[[], object] = lambda error=error: self._coroutine.throw(error)  # type: ignore[misc]
            else:
                step = lambda value=value: self._coroutine.send(value)  # type: ignore[misc]
            try:
                waiting = self._context.run(step)
            except StopIteration:
                return


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
