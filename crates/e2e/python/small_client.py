"""A small client of the protocol in docs/protocol.md, with nothing but Python's `websockets`. As a program:
python small_client.py ws://localhost:8700/ws alice say general "Hello!"      (or: alice listen)
"""

import asyncio
import itertools
import json
import os
import random
import sys
import uuid

import websockets

RETRYABLE = ("agent_id_in_use limit_reached rate_limited timed_out storage_unavailable storage_full "
             "shutting_down internal").split()


class Refused(Exception):
    """The workspace said no; `code` is the stable word for it."""
    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]


class SmallClient:
    """One agent: joins, resumes after a drop, publishes, calls, and hands out events in order, each once."""

    def __init__(self, url, agent_id=None, token=None, metadata=None):
        self.hello = {"type": "hello", "protocol": 1, "agent_id": agent_id, "token": token,
                      "metadata": metadata, "after": None}  # `after`: everything up to there is handled.
        self.url, self.socket, self.ids, self.pending = url, None, itertools.count(1), {}
        self.queue, self.current, self.received = asyncio.Queue(), None, 0  # Events to hand out; the last one.

    async def connect(self):
        """Joins, and keeps the connection until `close`."""
        self.keeper = asyncio.create_task(self._keep(joined := asyncio.get_running_loop().create_future()))
        await joined

    async def close(self):
        """Leaves: the agent is offline at once. Await receipts before."""
        await self._send({"type": "ack", "through": self.hello["after"]})
        await self._send({"type": "goodbye"})
        self.keeper.cancel()
        await asyncio.wait([self.keeper])

    async def publish(self, event_name, destination_id, payload, **fields):
        """Publishes an event and returns its receipt. The event id makes it safe to repeat after a drop."""
        event = {"event_name": event_name, "destination_id": destination_id, "payload": payload, **fields}
        return await self._ask({"type": "publish", "event": {"event_id": str(uuid.uuid4()), **event}}, "data")

    def say(self, channel, text, **fields):
        return self.publish("channel.message.posted", f"channel:{channel}", {"content": text}, **fields)

    def tell(self, agent_id, text, **fields):
        return self.publish("direct.message.received", f"agent:{agent_id}", {"content": text}, **fields)

    async def call(self, method, **params):
        """Makes a call and returns its result."""
        return await self._ask({"type": "request", "method": method, "params": params}, "result")

    async def next(self):
        """The next event. Asking for it tells that the one before is handled."""
        await self.done()
        self.current = await self.queue.get()
        if isinstance(self.current, Refused):
            raise self.current  # The session is over for good.
        return self.current

    async def done(self):
        """The event handed out last is handled: it does not come again."""
        event, self.current = self.current, None
        if event and "sequence" in event:
            self.hello["after"] = event["sequence"]
            if self.queue.empty() or event["sequence"] % 100 == 0:
                await self._send({"type": "ack", "through": event["sequence"]})

    async def _ask(self, frame, key):
        frame["id"], future = next(self.ids), asyncio.get_running_loop().create_future()
        self.pending[frame["id"]] = frame, future
        await self._send(frame)
        answer = await future
        if "error" in answer:
            raise Refused(answer["error"])
        return answer[key]

    async def _send(self, frame):
        try:
            if self.socket:
                await self.socket.send(json.dumps(frame))
        except websockets.ConnectionClosed:
            pass  # A publish goes again after the reconnect.

    async def _keep(self, joined):
        failures = 0
        while True:
            error = ConnectionError("the connection broke")
            try:
                async with websockets.connect(self.url, max_size=None) as socket:
                    await self._begin(socket)
                    joined.done() or joined.set_result(None)
                    async for text in socket:
                        await self._take(json.loads(text))
            except (OSError, websockets.WebSocketException, Refused) as reason:
                error = reason
            failures, self.socket = 0 if self.socket else failures + 1, None
            final = not joined.done() or isinstance(error, Refused) and error.code not in RETRYABLE
            for key, (frame, future) in list(self.pending.items()):
                if (final or frame["type"] == "request") and self.pending.pop(key):
                    future.cancelled() or future.set_exception(error)  # A call may not bear repeating.
            if final:
                return self.queue.put_nowait(error) if joined.done() else joined.set_exception(error)
            await asyncio.sleep(min(30, 0.05 * 2 ** min(failures, 10)) * random.uniform(0.5, 1))

    async def _begin(self, socket):
        await socket.send(json.dumps(self.hello))
        welcome = json.loads(await socket.recv())
        if welcome["type"] != "welcome":
            raise Refused(welcome)
        same, cursor = welcome["log"] == self.hello.get("log"), welcome["cursor"]  # Another log: a restored one.
        self.hello.update({key: welcome[key] for key in ("agent_id", "session_key", "log")}, after=cursor)
        self.socket, self.received = socket, max(self.received if same else 0, cursor)
        for frame, _ in list(self.pending.values()):
            await self._send(frame)

    async def _take(self, frame):
        if frame["type"] == "event" and frame.get("sequence", self.received + 1) > self.received:
            self.received = frame.get("sequence", self.received)  # What is not larger came before the drop.
            self.queue.put_nowait(frame)
        elif frame["type"] in ("published", "response") and frame["id"] in self.pending:
            future = self.pending.pop(frame["id"])[1]
            future.cancelled() or future.set_result(frame)
        elif frame["type"] == "ping":
            await self._send({"type": "pong"})
        elif frame["type"] in ("error", "goodbye"):
            raise Refused(frame)


async def main(url, agent_id, command, *words):
    client = SmallClient(url, agent_id, token=os.environ.get("OPENAGENTS_TOKEN"))
    await client.connect()
    if command == "say":
        print(json.dumps(await client.say(*words)))
    while command == "listen":
        print(json.dumps(await client.next()), flush=True)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
