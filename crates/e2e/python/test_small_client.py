"""Drives a running server with the small client, and holds docs/asyncapi.yaml against every frame on the way.

    python test_small_client.py ws://localhost:8700/ws
"""

import asyncio
import json
import sys
import uuid
from pathlib import Path

import yaml

import small_client
from small_client import Refused, SmallClient

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "asyncapi.yaml"
FRAMES = {
    "hello", "publish", "request", "ack", "ping", "pong", "goodbye",
    "welcome", "event", "published", "response", "error",
}
LIMIT = 20


class Schemas:
    """The frames as the AsyncAPI document describes them, and those that were seen."""

    def __init__(self, text):
        self.document = yaml.safe_load(text)
        self.messages = {"client": {}, "server": {}}
        self.seen = set()
        assert self.document["asyncapi"].startswith("3."), "an AsyncAPI document of version 3"
        self.check_references(self.document)
        for channel in self.document["channels"].values():
            for message in channel["messages"].values():
                message = self.resolve(message)
                side, _, kind = message["name"].partition(".")
                self.messages[side][kind] = self.resolve(message["payload"])
                assert self.messages[side][kind]["properties"]["type"]["const"] == kind
        documented = set(self.messages["client"]) | set(self.messages["server"])
        assert documented == FRAMES, f"{documented ^ FRAMES} are documented or spoken, but not both"

    def resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def check_references(self, node):
        if isinstance(node, dict):
            self.resolve(node)
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                self.check_references(child)

    def check(self, side, frame):
        """Fails for a frame that has a field too few, too many, or of another type."""
        self.seen.add((side, frame["type"]))
        self.check_value(self.messages[side][frame["type"]], frame, f"{side}.{frame['type']}")

    def check_value(self, schema, value, path):
        schema = self.resolve(schema)
        if "oneOf" in schema:
            schema = next(one for one in map(self.resolve, schema["oneOf"]) if matches(one, value))
        names = {"object": dict, "string": str, "boolean": bool, "integer": int, "number": (int, float),
                 "array": list}
        expected = schema.get("type")
        if expected:
            kinds = [expected] if isinstance(expected, str) else expected
            fits = any(value is None if kind == "null" else isinstance(value, names[kind]) for kind in kinds)
            assert fits, f"{path} is {value!r}, which is not {expected}"
        if "enum" in schema:
            assert value in schema["enum"], f"{path} is {value!r}, which is not listed"
        if isinstance(value, dict) and "properties" in schema:
            missing = set(schema.get("required", ())) - set(value)
            assert not missing, f"{path} lacks {missing}"
            for key, child in value.items():
                assert key in schema["properties"], f"{path}.{key} is not documented"
                self.check_value(schema["properties"][key], child, f"{path}.{key}")
        if isinstance(value, list) and "items" in schema:
            for index, child in enumerate(value):
                self.check_value(schema["items"], child, f"{path}[{index}]")


def matches(schema, value):
    mode = schema.get("properties", {}).get("mode", {})
    return mode.get("const") == value.get("mode")


SCHEMAS = Schemas(DOCUMENT.read_text(encoding="utf-8"))


class CheckedConnect(small_client.websockets.connect):
    """`websockets.connect`, with every frame in both directions held against the document."""

    async def __aenter__(self):
        socket = await super().__aenter__()
        send, recv = socket.send, socket.recv

        async def checked_send(text):
            SCHEMAS.check("client", json.loads(text))
            await send(text)

        async def checked_recv(*arguments, **options):
            text = await recv(*arguments, **options)
            SCHEMAS.check("server", json.loads(text))
            return text

        socket.send, socket.recv = checked_send, checked_recv
        return socket


def name(role):
    """An agent that nobody used before, so that the program can run again on the same workspace."""
    return f"{role}-{uuid.uuid4().hex[:8]}"


async def join(url, agent_id, **options):
    client = SmallClient(url, agent_id, **options)
    await client.connect()
    return client


async def until(client, condition):
    """The next event that fits; all before it are handled."""
    while True:
        event = await asyncio.wait_for(client.next(), LIMIT)
        if condition(event):
            await client.done()
            return event


def text_of(event):
    return event["payload"].get("content", {}).get("text")


async def refused(code, awaitable):
    try:
        await awaitable
    except Refused as refusal:
        assert refusal.code == code, refusal
    else:
        raise AssertionError(f"{code} was expected")


async def a_post_reaches_the_other_agent_and_the_history(url):
    alice, bob = await join(url, name("alice")), await join(url, name("bob"))
    receipt = await alice.say("general", "Hello!", metadata={"mood": "good"})
    assert receipt["message_id"] == receipt["event_id"] and receipt["counts"]["live"] >= 1, receipt
    event = await until(bob, lambda event: text_of(event) == "Hello!")
    assert event["event_name"] == "channel.message.posted", event
    assert event["source_id"] == event["payload"]["sender_id"] == alice.hello["agent_id"], event
    assert event["payload"]["channel"] == "general" and event["metadata"] == {"mood": "good"}, event
    assert (event["event_id"], event["sequence"]) == (receipt["event_id"], receipt["sequence"])
    history = await bob.call("list_messages", channel="general", limit=1)
    assert history["messages"][0]["message_id"] == receipt["message_id"], history
    assert history["messages"][0]["content"] == {"text": "Hello!"}, history
    agents = [agent["id"] for agent in (await bob.call("list_agents"))["agents"]]
    assert {alice.hello["agent_id"], bob.hello["agent_id"]} <= set(agents), agents
    await alice.close()
    left = await until(bob, lambda event: event["event_name"] == "agent.left")
    assert left["payload"] == {"agent_id": alice.hello["agent_id"], "reason": "disconnected"}, left
    await bob.close()


async def a_direct_message_is_answered(url):
    alice, bob = await join(url, name("alice")), await join(url, name("bob"))
    alice_id, bob_id = alice.hello["agent_id"], bob.hello["agent_id"]
    asked = await alice.tell(bob_id, "What is the status?", requires_response=True)
    assert asked["recipients"] == [{"agent_id": bob_id, "state": "live"}], asked
    question = await until(bob, lambda event: event["event_name"] == "direct.message.received")
    assert question["requires_response"] and question["payload"]["text"] == "What is the status?", question
    await bob.tell(alice_id, "All is well", response_to=question["event_id"])
    answer = await until(alice, lambda event: event.get("response_to") == asked["event_id"])
    assert text_of(answer) == "All is well" and answer["source_id"] == bob_id, answer
    parent = await bob.say("general", f"ask @{alice_id}")
    mention = await until(alice, lambda event: "channel.message.mentioned" in event.get("also", ()))
    assert mention["event_id"] == parent["event_id"], mention
    await alice.say("general", "here", reply_to_id=parent["message_id"])
    reply = await until(bob, lambda event: event["event_name"] == "channel.message.replied")
    assert reply["payload"]["parent_id"] == parent["message_id"], reply
    conversation = await alice.call("list_messages", agent_id=bob_id, after=0)
    assert [message["sender_id"] for message in conversation["messages"]] == [alice_id, bob_id]
    await refused("agent_not_found", alice.tell(name("nobody"), "Hello?"))
    await refused("channel_not_found", alice.call("list_messages", channel=name("nowhere")))
    await asyncio.gather(alice.close(), bob.close())


async def every_event_comes_once_over_broken_connections(url):
    alice, bob = await join(url, name("alice")), await join(url, name("bob"))
    channel, count = name("breaks"), 600
    await alice.call("create_channel", name=channel, description="for a test")

    async def talk():
        for start in range(0, count, 50):
            await asyncio.gather(*(alice.say(channel, str(n)) for n in range(start, start + 50)))

    async def cut(client, times):
        for _ in range(times):
            await asyncio.sleep(0.15)
            if client.socket:
                client.socket.transport.abort()

    async def listen():
        heard = []
        while len(heard) < count:
            event = await until(bob, lambda event: event["payload"].get("channel") == channel and text_of(event))
            heard.append(int(text_of(event)))
        return heard

    heard, _, _, _ = await asyncio.wait_for(
        asyncio.gather(listen(), talk(), cut(alice, 3), cut(bob, 4)), LIMIT * 3
    )
    assert len(set(heard)) == count and bob.queue.empty(), "lost or repeated"
    for start in range(0, count, 50):
        assert set(heard[start:start + 50]) == set(range(start, start + 50)), "out of order"
    history = await bob.call("list_messages", channel=channel, limit=1000)
    assert len(history["messages"]) == count, "stored twice or not at all"
    assert [int(message["content"]["text"]) for message in reversed(history["messages"])] == heard

    await bob.close()
    for text in ("one", "two"):
        receipt = await alice.tell(bob.hello["agent_id"], text)
    away = receipt["recipients"][0]
    assert away["state"] == "away" and away["unread"] == 2, receipt
    bob = await join(url, bob.hello["agent_id"])
    backlog = [text_of(await asyncio.wait_for(bob.next(), LIMIT)) for _ in range(2)]
    assert backlog == ["one", "two"], backlog
    await bob.done()
    await asyncio.gather(alice.close(), bob.close())


async def a_repeated_publish_is_one_event(url):
    alice, bob = await join(url, name("alice")), await join(url, name("bob"))
    event_id = str(uuid.uuid4())
    first = await alice.say("general", "once", event_id=event_id)
    again = await alice.say("general", "once", event_id=event_id)
    assert again["duplicate"] and again["sequence"] == first["sequence"], again
    await refused("event_id_reused", alice.say("general", "another text", event_id=event_id))
    await refused("event_id_conflict", bob.say("general", "once", event_id=event_id))
    last = await alice.publish("custom.task.completed", "channel:general", {"result": "success"})
    await until(bob, lambda event: event["event_id"] == event_id)
    event = await asyncio.wait_for(bob.next(), LIMIT)
    assert event["event_id"] == last["event_id"], "the repetition was delivered"
    await asyncio.gather(alice.close(), bob.close())


async def a_second_session_of_an_agent_needs_the_key(url):
    alice = await join(url, name("alice"))
    await refused("agent_id_in_use", join(url, alice.hello["agent_id"]))
    heir = SmallClient(url, alice.hello["agent_id"])
    heir.hello["session_key"] = alice.hello["session_key"]
    await heir.connect()
    await refused("session_replaced", until(alice, lambda event: False))
    await heir.close()


async def main(url):
    small_client.websockets.connect = CheckedConnect
    for story in (
        a_post_reaches_the_other_agent_and_the_history,
        a_direct_message_is_answered,
        every_event_comes_once_over_broken_connections,
        a_repeated_publish_is_one_event,
        a_second_session_of_an_agent_needs_the_key,
    ):
        await asyncio.wait_for(story(url), LIMIT * 4)
        print("ok", story.__name__, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
