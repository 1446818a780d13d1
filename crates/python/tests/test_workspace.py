"""The workspace: channels, agents, files."""

from __future__ import annotations

import asyncio
import datetime
import pathlib
from typing import Any

import pytest
from conftest import Journal, Server, unique

from openagents.core.workspace import Workspace as OlderPath
from openagents.errors import FileError, InvalidInputError, RefusedError, TimedOutError
from openagents.sdk.workspace import Workspace


async def test_channels_are_made_listed_and_written_with_or_without_a_hash(server: Server) -> None:
    assert OlderPath is Workspace
    async with server.joined("alice", "bob") as (alice, bob):
        ws = alice.workspace()
        assert "general" in await ws.channels()
        name = unique("dev")
        dev = await ws.create_channel(name, description="Where we build")
        assert dev.name == name and name in await bob.workspace().channels(refresh=True)
        assert (await ws.create_channel(channel_name="#" + unique("other"))).name.startswith("other")
        assert ws.channel(f"#{name}").name == name and name in repr(dev)
        described = {channel["name"]: channel for channel in await ws.list_channels()}
        assert described[name]["description"] == "Where we build"
        assert (await dev.set_topic("Release")).success
        assert {alice.agent_id, bob.agent_id} <= {member["id"] for member in await dev.members()}
        assert (await bob.workspace().channel(name).join())["name"] == name
        assert (await bob.workspace().channel(name).leave())["joined"] is False
        assert ws.client is alice and ws.agent_id == alice.agent_id
        assert set(await ws.agents()) >= {alice.agent_id, bob.agent_id}
        assert (await ws.get_network_info())["durability"] == "memory"
        assert (await dev.archive()).success and (await dev.post("late")).code == "channel_archived"
        assert (await dev.archive(False)).success and (await dev.delete()).success
        with pytest.raises(RefusedError):
            await dev.get_messages()


async def test_messages_are_posted_read_and_replied_to(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        channel = await alice.workspace().create_channel(unique("talk"))
        theirs = bob.workspace().channel(channel.name)
        await theirs.join()
        journal = Journal()
        bob.register_event_handler(journal.write, ["channel.message.*"])
        markdown = "# Title\n\n- *one*\n- `two`\n\n```python\nprint('hi')\n```"
        posted = await channel.post(markdown, metadata={"type": "report"})
        first = posted.data["message_id"]
        await channel.post({"text": "with more", "attachments": ["a.txt"]})
        await channel.reply(first, "an answer")
        await channel.reply_to_message(first, content={"text": "another"})
        await channel.reply(message_id=first, text="third")
        events = await journal.reaches(5)
        assert (events[0].text, events[0].metadata, events[0].payload["channel"]) == (
            markdown,
            {"type": "report"},
            channel.name,
        )
        assert events[1].payload["content"]["attachments"] == ["a.txt"]
        assert [event.event_name for event in events[2:]] == ["channel.message.replied"] * 3
        assert events[2].payload["parent_id"] == first == events[2].reply_to_id
        messages = await theirs.get_messages(limit=50)
        assert [message["content"]["text"] for message in messages] == [
            "third",
            "another",
            "an answer",
            "with more",
            markdown,
        ]
        oldest = messages[-1]
        assert (oldest["id"], oldest["message_id"], oldest["sender_id"]) == (first, first, alice.agent_id)
        assert (oldest["channel"], oldest["reply_to_id"], oldest["reactions"]) == (channel.name, None, [])
        assert oldest["metadata"] == {"type": "report"} and messages[0]["reply_to_id"] == first
        assert [m["text"] for m in await theirs.get_messages(limit=2, offset=1)] == ["another", "an answer"]
        assert [m["text"] for m in await theirs.get_thread(first)] == ["third", "another", "an answer"]
        assert (await channel.edit_message(first, "edited")).success
        assert (await bob.workspace().get_message(first))["text"] == "edited"
        assert (await channel.delete_message(first)).success
        with pytest.raises(RefusedError):
            await bob.workspace().get_message(first)


async def test_mentions_and_reactions_arrive(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        general = alice.workspace().channel("general")
        journal = Journal()
        bob.register_event_handler(journal.write, ["channel.message.mentioned", "workspace.reaction.*"])
        posted = await general.post_with_mention("look here", mention_agent_id=bob.agent_id)
        message_id = posted.data["message_id"]
        assert (await general.react(message_id, "👍")).success
        assert (await general.add_reaction(message_id, "thumbsup")).success
        assert (await general.react_to_message(message_id, "👍", action="remove")).success
        mention, *reactions = await journal.reaches(4)
        assert (mention.event_name, mention.payload["mentioned_agent_id"]) == (
            "channel.message.posted",
            bob.agent_id,
        )
        assert [(event.event_name.rsplit(".")[-1], event.payload["reaction"]) for event in reactions] == [
            ("added", "👍"),
            ("added", "thumbsup"),
            ("removed", "👍"),
        ]
        assert all(event.payload["message_id"] == message_id for event in reactions)
        with pytest.raises(InvalidInputError):
            await general.react_to_message(message_id, "👍", action="toggle")


async def test_waits_in_channels_end_with_what_they_wait_for(server: Server) -> None:
    async with server.joined("alice", "bob", "carol") as (alice, bob, carol):
        channel = await alice.workspace().create_channel(unique("waits"))
        theirs = [agent.workspace().channel(channel.name) for agent in (bob, carol)]
        for one in theirs:
            await one.join()

        async def answer(event: Any) -> None:
            own = bob.workspace().channel(channel.name)
            await own.post("unrelated")
            await own.reply(event.id, "related")

        bob.register_event_handler(answer, "channel.message.posted")
        reply = await channel.post_and_wait("who knows?", timeout=10.0)
        assert reply is not None
        assert (reply["text"], reply["content"]["text"], reply["sender_id"]) == ("related", "related", bob.agent_id)
        bob.unregister_event_handler(answer)
        before = await channel.wait_for_post()
        assert before is not None and before["text"] == "unrelated"

        waiting = asyncio.gather(
            channel.wait_for_post(from_agent=carol.agent_id, timeout=10.0),
            channel.wait_for_post(timeout=10.0),
            channel.wait_for_reply(timeout=10.0),
            channel.wait_for_reply(message_id=reply["message_id"], timeout=10.0),
            channel.wait_for_reaction(reply["message_id"], timeout=10.0),
        )
        await asyncio.sleep(0)
        await channel.post("own posts do not count")
        await theirs[0].post("from bob")
        await theirs[1].post("from carol")
        await theirs[1].reply(reply["message_id"], "a reply")
        await theirs[1].react(reply["message_id"], "eyes")
        from_carol, from_anybody, any_reply, this_reply, reaction = await waiting
        assert from_carol is not None and from_carol["text"] == "from carol"
        assert from_anybody is not None and from_anybody["text"] == "from bob"
        assert any_reply is not None and any_reply["text"] == "a reply"
        assert this_reply == any_reply
        assert reaction is not None and (reaction["reaction"], reaction["agent_id"]) == ("eyes", carol.agent_id)
        assert await channel.wait_for_post(timeout=0.01) is None
        assert await channel.post_and_wait("nobody answers", timeout=0.01) is None


async def test_agents_are_written_to_asked_and_listened_to(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):

        async def answer(event: Any) -> None:
            peer = bob.workspace().agent(event.source_id)
            await peer.send({"text": f"re: {event.text}", "n": 10**30}, metadata={"mood": "fine"})

        bob.register_event_handler(answer, ["direct.*"])
        peer = alice.workspace().agent(bob.agent_id)
        questions = [peer.send_and_wait(f"question {number}", timeout=10.0) for number in range(20)]
        answers = await asyncio.gather(*questions)
        assert [answer["text"] for answer in answers if answer] == [f"re: question {n}" for n in range(20)]
        assert answers[0] is not None and answers[0]["content"]["n"] == 10**30
        assert (answers[0]["metadata"], answers[0]["sender_id"]) == ({"mood": "fine"}, bob.agent_id)
        waiting = asyncio.create_task(peer.wait_for_message(timeout=10.0))
        await asyncio.sleep(0)
        await peer.send("go on")
        found = await waiting
        assert found is not None and found["text"] == "re: go on"
        assert await peer.wait_for_reply(timeout=0.01) is None
        assert (await peer.get_messages(limit=1))[0]["text"] == "re: go on"
        assert alice.workspace().agent(f"agent:{bob.agent_id}").agent_id == bob.agent_id
        never = alice.workspace().agent("never-seen")
        assert (await never.send("hello")).code == "agent_not_found"
        assert await never.send_and_wait("hello", timeout=None) is None
        assert (await alice.workspace().conversations())[0]["agent_id"] == bob.agent_id


async def test_files_are_shared_listed_fetched_and_deleted(server: Server, tmp_path: pathlib.Path) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        ws, theirs = alice.workspace(), bob.workspace()
        content = bytes(range(256)) * 4096
        source = tmp_path / "résumé.bin"
        source.write_bytes(content)
        journal = Journal()
        bob.register_event_handler(journal.write, ["workspace.file.*"])
        uploaded = await ws.upload_file(source, description="What we found", tags=["weekly"])
        in_channel = await ws.channel("general").upload_file(str(source), description="here")
        sent = await ws.agent(bob.agent_id).send_file(file_path=source)
        assert in_channel.success and sent.data["file_id"] != in_channel.data["file_id"]
        events = await journal.reaches(3)
        assert [event.event_name for event in events] == ["workspace.file.uploaded"] * 3
        assert (events[0].payload["filename"], events[0].payload["size"]) == ("résumé.bin", len(content))
        assert events[0].payload["uploader"] == alice.agent_id
        listed = {file["id"]: file for file in await theirs.list_files()}
        assert (listed[uploaded["id"]]["name"], listed[uploaded["id"]]["tags"]) == ("résumé.bin", ["weekly"])
        assert await theirs.download_file(uploaded["id"]) == content
        copy = await theirs.download_file(sent.data["file_id"], tmp_path / "copy.bin")
        assert isinstance(copy, str) and pathlib.Path(copy).read_bytes() == content
        assert (await theirs.get_file(uploaded["id"]))["description"] == "What we found"
        assert (await ws.delete_file(uploaded["id"])).success
        with pytest.raises(RefusedError) as refused:
            await theirs.download_file(uploaded["id"])
        assert refused.value.code == "file_not_found"
        with pytest.raises(FileError) as missing:
            await ws.upload_file(tmp_path / "missing")
        assert isinstance(missing.value, OSError) and missing.value.code == "local_file"


async def test_channels_are_configured_and_threads_begun(server: Server, tmp_path: pathlib.Path) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        channel = await alice.workspace().create_channel(unique("rules"))
        theirs = bob.workspace().channel(channel.name)
        await theirs.join()
        rules = {"max_file_size": 10, "allowed_file_types": ["txt"], "auto_archive_days": 30, "enable_threading": True}
        assert (await channel.configure(rules)).success
        large = tmp_path / "large.txt"
        large.write_text("x" * 11)
        refused = await theirs.upload_file(large)
        assert (refused.success, refused.code) == (False, "too_large"), refused
        thread = await channel.start_thread("Plans", "What do we do?")
        assert thread.id and thread["id"] == thread.id and "Plans" in repr(thread)
        assert (await theirs.reply_to_thread(thread.id, "This")).success
        assert (await thread.reply("And that")).success
        assert [message["text"] for message in await channel.get_thread(thread.id)] == ["And that", "This"]
        assert (await channel.set_permissions({"post_messages": ["admin"]})).success
        described = {channel["name"]: channel for channel in await theirs._workspace.list_channels()}
        assert described[channel.name]["permissions"]["post_messages"] == ["admin"]
        with pytest.raises(InvalidInputError):
            await channel.configure({"max_file_size": "ten"})


async def test_what_was_said_is_found_by_its_words(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        ws = alice.workspace()
        channel = await ws.create_channel(unique("found"))
        word = unique("rollback").replace("-", "x")
        for number in range(3):
            await channel.post({"text": f"the {word} of Crème {number}"})
        await ws.agent(bob.agent_id).send(f"{word} between us")
        found = await ws.search(f"{word} creme", channel=channel.name)
        assert [result["message"]["text"] for result in found] == [f"the {word} of Crème {n}" for n in (2, 1, 0)]
        assert found[0]["message"]["sender_id"] == alice.agent_id and found[0]["message"]["reply_to_id"] is None
        matched = [piece["text"] for piece in found[0]["snippet"] if piece["matched"]]
        assert matched == [word, "Crème"]
        assert "".join(piece["text"] for piece in found[0]["snippet"]) == f"the {word} of Crème 2"
        assert not found.has_more and found[0]["message"]["sequence"] <= found.indexed
        newest = await ws.search(f"{word[:-1]}*", channel=channel.name, limit=1)
        assert (len(newest), newest.has_more) == (1, True)
        older = await ws.search(word, channel=channel.name, before=newest.before)
        assert [result["message"]["text"][-1] for result in older] == ["1", "0"]
        direct = await bob.workspace().search(word, agent_id=alice.agent_id, sender=alice.agent_id)
        assert [result["message"]["text"] for result in direct] == [f"{word} between us"]
        begun = datetime.datetime.fromtimestamp(found[-1]["message"]["timestamp"], datetime.timezone.utc)
        assert len(await ws.search(word, channel=channel.name, since=begun)) == 3
        assert await ws.search(word, channel=channel.name, until=begun) == []
        assert await ws.search(word, after=newest[0]["message"]["sequence"], channel=channel.name) == []
        assert await ws.search("nobodysaidthis") == []
        with pytest.raises(RefusedError) as refused:
            await ws.search("")
        assert refused.value.field == "query"
        for wrong in ({"limit": -1}, {"before": "now"}, {"since": float("inf")}):
            with pytest.raises(InvalidInputError):
                await ws.search(word, **wrong)  # type: ignore[arg-type]


async def test_histories_are_read_in_pages_and_from_a_position(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        channel = await alice.workspace().create_channel(unique("pages"))
        peer = alice.workspace().agent(bob.agent_id)
        for number in range(4):
            await channel.post(str(number))
            await peer.send(str(number))
        for place in (channel, peer):
            messages = await place.get_messages(limit=2)
            assert [message["text"] for message in messages] == ["3", "2"]
            older = await place.get_messages(before=messages[-1]["sequence"])
            assert [message["text"] for message in older] == ["1", "0"]
            newer = await place.get_messages(after=older[-1]["sequence"], limit=2)
            assert [message["text"] for message in newer] == ["1", "2"]
        with pytest.raises(InvalidInputError) as wrong:
            await channel.get_messages(limit=-1)
        assert wrong.value.field == "limit"
        with pytest.raises(RefusedError) as refused:
            await channel.get_messages(before=1, after=1)
        assert refused.value.field == "before"


async def test_the_same_message_under_its_id_is_there_once(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        channel = await alice.workspace().create_channel(unique("once"))
        for _ in range(2):
            posted = await channel.post("once", event_id=f"{channel.name}-1")
            replied = await channel.reply(f"{channel.name}-1", "also", event_id=f"{channel.name}-2")
            sent = await alice.workspace().agent(bob.agent_id).send("direct", event_id=f"{channel.name}-3")
            assert posted.success and replied.success and sent.success
        assert [message["text"] for message in await channel.get_messages()] == ["also", "once"]
        assert len(await alice.workspace().agent(bob.agent_id).get_messages()) == 1


async def test_a_question_without_an_answer_says_why(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        asked = asyncio.Event()
        bob.register_event_handler(lambda event: asked.set() if "really" in str(event.payload) else None)
        with pytest.raises(RefusedError) as unknown:
            await alice.workspace().agent("never-seen").ask("?")
        with pytest.raises(TimedOutError) as silent:
            await alice.workspace().agent(bob.agent_id).ask("?", timeout=0.01)
        assert (unknown.value.code, silent.value.code) == ("agent_not_found", "timed_out")
        waiting = asyncio.create_task(alice.workspace().agent(bob.agent_id).ask("really?"))
        await asked.wait()
        await bob.workspace().agent(alice.agent_id).send("this")
        assert (await waiting)["text"] == "this"


async def test_subscribing_uses_the_patterns_of_the_page(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()
        handle = bob.workspace().subscribe_to_events(["workspace.channel.*", "workspace.direct.*"], journal.write)
        assert (await handle) is handle
        await alice.workspace().channel("general").post("in a channel")
        await alice.workspace().agent(bob.agent_id).send("directly")
        await bob.workspace().send_event(
            event_name="custom.not_selected", destination_id=f"agent:{bob.agent_id}", payload={}
        )
        assert [event.event_name for event in await journal.reaches(2)] == [
            "channel.message.posted",
            "direct.message.received",
        ]
        assert handle.unsubscribe() is True and handle.unsubscribe() is False
