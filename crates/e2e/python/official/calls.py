"""Every call of the official client that puts something on the wire, and what comes of it."""

import base64
import sys
import uuid

from harness import Agent, check, run


async def messages(alice, bob):
    general = alice.channel("general")
    posted = await general.post("hello")
    check(posted.success, True)
    message_id = posted.data["message_id"]
    check(posted.data["event_id"], message_id)
    event = await bob.event("thread.channel_message.notification")
    check(event.source_id, alice.id)
    check(event.payload["content"], {"text": "hello"})
    check(event.event_id, message_id, "the notification has the id of the message")
    check(event.payload["original_event_id"], message_id)
    check(event.secret, None)

    extra = await general.post({"text": "more", "mood": "good"}, priority="high", text="beside")
    event = await bob.event("thread.channel_message.notification", lambda e: e.payload.get("priority"))
    check(event.payload["content"]["mood"], "good")
    check(event.payload["text"], "beside", "any key beside the content")
    check(event.event_id, extra.data["event_id"])

    await general.post_with_mention("ping", bob.id)
    event = await bob.event("thread.channel_message.notification", lambda e: e.payload.get("mentioned_agent_id"))
    check(event.payload["mentioned_agent_id"], bob.id)

    # A reply to what was told: its id is the id of the message.
    replied = await bob.channel("general").reply(message_id, "a reply")
    check(replied.success, True)
    event = await alice.event("thread.reply.notification")
    check(event.payload["reply_to_id"], message_id)
    check(event.payload["original_sender"], alice.id)
    check(event.payload["thread_level"], 1)

    told = await bob.channel("general").get_messages(limit=10)
    check([m["content"]["text"] for m in told], ["a reply", "ping", "more", "hello"])
    check(told[3]["thread_info"]["children_count"], 1)
    check([m["content"]["text"] for m in await general.get_messages(limit=1, offset=1)], ["ping"])
    return message_id


async def reactions(alice, bob, message_id):
    reacted = await bob.channel("general").react_to_message(message_id, "👍")
    check((reacted.success, reacted.data["action_taken"]), (True, "add"))
    event = await alice.event("thread.reaction.notification")
    check(event.payload["reaction"]["reaction_type"], "+1")
    check(event.payload["total_reactions"], 1)
    check(bob.got == [e for e in bob.got if e.event_name != "thread.reaction"], True, "no echo")
    removed = await bob.channel("general").react_to_message(message_id, "+1", action="remove")
    check(removed.data["action_taken"], "remove")
    toggled = await bob.send(
        "thread.reaction.toggle", {"target_message_id": message_id, "reaction_type": "heart"}
    )
    check(toggled.data["action_taken"], "add")
    again = await bob.send("thread.reaction.add", {"target_message_id": message_id, "reaction_type": "heart"})
    check((again.success, again.data["success"]), (True, False))
    told = await alice.channel("general").get_messages()
    check(told[-1]["reactions"], {"heart": 1})
    unknown = await bob.send("thread.reaction.add", {"target_message_id": "nope", "reaction_type": "heart"})
    check(unknown.data["error"], "Target message nope not found")


async def direct(alice, bob):
    sent = await alice.agent(bob.id).send("psst")
    check(sent.success, True)
    event = await bob.event("thread.direct_message.notification")
    check((event.source_id, event.payload["sender_id"]), (alice.id, alice.id))
    check(event.payload["content"]["text"], "psst")
    answered = await bob.send(
        "thread.reply.post",
        {"reply_to_id": event.event_id, "target_agent_id": alice.id, "content": {"text": "what?"}},
        to=alice.id,
    )
    check(answered.success, True)
    event = await alice.event("thread.reply.notification", lambda e: e.payload.get("target_agent_id"))
    check(event.payload["content"]["text"], "what?")

    history = await alice.send("thread.direct_messages.retrieve", {"target_agent_id": "agent:" + bob.id})
    texts = [m["payload"]["content"]["text"] for m in history.data["messages"]]
    check(texts, ["psst", "what?"], "oldest first")
    check({m["secret"] for m in history.data["messages"]}, {None})
    listed = await alice.send("thread.conversations.list", {})
    check([c["agents"] for c in listed.data["conversations"]], [sorted([alice.id, bob.id])])
    check(listed.data["conversations"][0]["message_count"], 2)

    nobody = await alice.agent("nobody-there").send("hello?")
    check(nobody.success, False, "an unknown addressee is refused")
    prefixed = await alice.agent("agent:" + bob.id).send("prefixed")
    check(prefixed.success, True)


async def waiting(alice, bob):
    async def answer(event):
        if event.payload.get("content", {}).get("text") == "question":
            await bob.agent(alice.id).send("answer")

    bob.client.register_event_handler(answer, ["thread.direct_message.notification"])
    answer_payload = await alice.agent(bob.id).send_and_wait("question", timeout=20)
    check(answer_payload["content"]["text"], "answer")


async def plain(alice, bob):
    message = await alice.client.send_agent_message(bob.id, {"content": {"text": "raw"}})
    check(message.success, True)
    event = await bob.event("agent.message")
    check(event.payload, {"content": {"text": "raw"}})
    sent = await alice.send("demo.task.created", {"n": 1, "list": [1, None]}, to="agent:broadcast", metadata={"k": "v"})
    check(sent.success, True)
    event = await bob.event("demo.task.created")
    check((event.payload, event.metadata), ({"n": 1, "list": [1, None]}, {"k": "v"}))
    check(type(event.payload["n"]), int)
    prefixed = await alice.client.send_event(
        __import__("harness").Event(
            event_name="demo.prefixed.sent", source_id="agent:" + alice.id, destination_id=bob.id, payload={}
        )
    )
    check(prefixed.success, True, "a source with a role in front")
    check((await bob.event("demo.prefixed.sent")).source_id, alice.id)
    invalid = await alice.send("thread.channel_message.post", {"content": {"text": "nowhere"}})
    check(invalid.success, False, "an invalid post is refused")


async def carried(alice, bob):
    """What the adapter of simple_messaging sends: a message to everybody with a file in it."""
    content = base64.b64encode(b"in a message").decode()
    file = {"filename": "note.txt", "content": content, "mime_type": "text/plain"}
    payload = {"content": {"text": "to all"}, "files": [file]}
    sent = await alice.send("agent.broadcast_message.sent", payload, to="agent:broadcast")
    check((sent.success, sent.message), (True, "Event agent.broadcast_message.sent delivered to destination"))
    event = await bob.event("agent.broadcast_message.sent")
    check(event.payload["content"], {"text": "to all"})
    [told] = event.payload["files"]
    check((told["filename"], told["size"], "content" in told), ("note.txt", 12, False))
    wanted = {"action": "get_file", "file_id": told["file_id"]}
    got = await bob.send("simple_messaging.get_file", wanted)
    check(base64.b64decode(got.data["content"]), b"in a message")
    forged = await alice.send("agent.joined", {"agent_id": "ghost"}, to="agent:broadcast")
    check(forged.success, False, "what the workspace itself tells is not told for an agent")


async def files(alice, bob):
    content = base64.b64encode(b"a,b\n1,2\n").decode()
    upload = {"filename": "t.csv", "file_content": content, "mime_type": "text/csv", "file_size": 8}
    uploaded = await alice.send("thread.file.upload", {**upload, "channel": "general"})
    check(uploaded.data["success"], True)
    event = await bob.event("thread.file.upload_response")
    check(event.payload["file"]["file_content"], content)
    got = await bob.send("thread.file.download", {"file_id": uploaded.data["file_id"]})
    check((got.data["content"], got.data["mime_type"]), (content, "text/csv"))
    missing = await bob.send("thread.file.download", {"file_id": "nope"})
    check(missing.data["error"], "File not found")
    placeholder = await alice.channel("general").upload_file("reports/a.txt")
    check(isinstance(placeholder, str), True)


async def people(alice, bob):
    check(set(await alice.client.workspace().agents()) >= {alice.id, bob.id}, True)
    listed = {agent["agent_id"]: agent for agent in await alice.client.list_agents()}
    check(listed[alice.id]["name"], "Alice")
    mods = {mod["name"]: mod for mod in await alice.client.list_mods()}
    check(mods["openagents.mods.workspace.messaging"]["requires_adapter"], False)
    check(all("version" in mod for mod in mods.values()), True)
    check(await alice.client.get_mod_manifest("openagents.mods.workspace.messaging"), None)

    done = await alice.send("discovery.capabilities.set", {"capabilities": {"lang": ["en"]}})
    check(done.success, True)
    await bob.event("discovery.notification.capabilities_updated")
    found = await bob.send("discovery.agents.search", {"filter": {"lang": ["en", "fr"]}})
    check([agent["agent_id"] for agent in found.data["agents"]], [alice.id])

    subscribed = await bob.client.subscribe_events(["demo.only.*"])
    check(subscribed.success, True)
    await alice.send("demo.other.sent", {}, to=bob.id)
    await alice.send("demo.only.sent", {}, to=bob.id)
    await bob.event("demo.only.sent")
    check([e.event_name for e in bob.got if e.event_name == "demo.other.sent"], [])
    ended = await bob.client.unsubscribe_events(subscribed.data["subscription_id"])
    check(ended.success, True)


async def cache(alice, bob):
    made = await alice.send("shared_cache.create", {"value": "v1"})
    cache_id = made.data["cache_id"]
    await bob.event("shared_cache.notification.created")
    got = await bob.send("shared_cache.get", {"cache_id": cache_id})
    check((got.data["value"], got.data["created_by"]), ("v1", alice.id))
    check((await bob.send("shared_cache.update", {"cache_id": cache_id, "value": "v2"})).success, True)
    check((await alice.send("shared_cache.get", {"cache_id": cache_id})).data["value"], "v2")
    check((await alice.send("shared_cache.delete", {"cache_id": cache_id})).success, True)
    gone = await bob.send("shared_cache.get", {"cache_id": cache_id})
    check((gone.success, gone.message), (False, "Cache entry not found"))


async def channels(alice, bob):
    name = "room-" + uuid.uuid4().hex[:6]
    check((await alice.channel(name).post("first")).success, True)
    await bob.event("thread.channel_message.notification", lambda e: e.payload["channel"] == name)
    listed = await alice.send("thread.channels.list", {"action": "list_channels"})
    room = {channel["name"]: channel for channel in listed.data["channels"]}[name]
    check((room["message_count"], sorted(room["agents"])), (1, sorted([alice.id, bob.id])))
    member = {"channel_id": name, "agent_id": bob.id}
    check((await alice.send("system.remove_channel_member", member)).success, True)
    members = await alice.send("system.get_channel_members", {"channel_id": name})
    check(members.data["members"], [alice.id])
    check((await bob.channel(name).post("from outside")).success, True, "who is no member may post")
    check((await alice.send("system.add_channel_member", member)).success, True)
    asked = await bob.send("thread.announcement.get", {"channel": name})
    check(asked.data["text"], "")


async def main(port, transport):
    alice, bob = Agent("alice-" + transport), Agent("bob-" + transport)
    metadata = {"name": "Alice", "nested": {"list": [1, 2]}, "n": 1}
    check(await alice.join(port, transport, metadata=metadata), True)
    check(await bob.join(port, transport), True)
    message_id = await messages(alice, bob)
    await reactions(alice, bob, message_id)
    await direct(alice, bob)
    await waiting(alice, bob)
    await plain(alice, bob)
    await carried(alice, bob)
    await files(alice, bob)
    await people(alice, bob)
    await cache(alice, bob)
    await channels(alice, bob)
    ids = [event.event_id for event in bob.got]
    check(len(ids), len(set(ids)), "nothing twice")
    check((await alice.leave(), await bob.leave()), (True, True))


run(main(int(sys.argv[1]), sys.argv[2]))
