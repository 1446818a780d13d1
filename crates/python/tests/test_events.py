"""Events, responses and contexts behave like the documented models."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from openagents.errors import InvalidInputError, OpenAgentsError
from openagents.models.event import Event, EventNames, EventVisibility
from openagents.models.event_context import (
    ChannelMessageContext,
    EventContext,
    ReactionContext,
    ReplyMessageContext,
)
from openagents.models.event_response import EventResponse


def test_an_event_has_the_documented_keywords_and_attributes() -> None:
    event = Event(
        event_name="custom.task.completed",
        source_id="agent:me",
        destination_id="channel:general",
        payload={"task": 1},
        metadata={"note": True},
        visibility="RESTRICTED",
        allowed_agents={"bob"},
        event_id="e-1",
        timestamp=1700000000.5,
        requires_response=True,
        response_to="e-0",
        relevant_mod="forum",
        text_representation="done",
        thread_name="jobs",
        source_type="mod",
    )
    assert (event.event_name, event.source_id, event.sender_id) == ("custom.task.completed", "agent:me", "agent:me")
    assert (event.destination_id, event.target_id) == ("channel:general", "channel:general")
    assert (event.payload, event.content, event.metadata) == ({"task": 1}, {"task": 1}, {"note": True})
    assert event.visibility == EventVisibility.RESTRICTED == "restricted"
    assert event.allowed_agents == {"bob"}
    assert (event.event_id, event.id, event.message_id) == ("e-1", "e-1", "e-1")
    assert event.timestamp == 1700000000.5
    assert (event.requires_response, event.response_to) == (True, "e-0")
    assert (event.relevant_mod, event.text_representation) == ("forum", "done")
    assert (event.thread_name, event.source_type) == ("jobs", "mod")


def test_what_is_missing_is_made() -> None:
    first, second = Event("custom.event"), Event("custom.event", target_id="agent:bob")
    assert first.event_id and first.event_id != second.event_id
    assert 1_600_000_000 < first.timestamp < 10_000_000_000
    assert (first.payload, first.metadata, first.visibility) == ({}, {}, "network")
    assert (first.destination_id, second.destination_id, first.source_type) == (None, "agent:bob", "agent")
    assert first.sequence is None and not first.requires_response


def test_attributes_can_be_set_and_payloads_changed() -> None:
    event = Event("custom.event")
    event.payload["deep"] = {"list": [1]}
    event.payload["deep"]["list"].append(2)
    assert event.payload == {"deep": {"list": [1, 2]}}
    event.payload = {"other": None}
    event.target_id = "agent:bob"
    event.visibility = EventVisibility.DIRECT
    event.event_name = "custom.renamed"
    event.response_to = "x"
    assert event.to_dict()["payload"] == {"other": None}
    assert (event.destination_id, event.visibility, event.event_name) == ("agent:bob", "direct", "custom.renamed")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"event_name": ""}, "event_name"),
        ({"event_name": "Capital.letters"}, "event_name"),
        ({"event_name": "custom.event", "visibility": "nobody"}, "visibility"),
        ({"event_name": "custom.event", "payload": "text"}, "payload"),
        ({"event_name": "custom.event", "metadata": [1]}, "metadata"),
    ],
)
def test_what_breaks_a_rule_is_told_with_its_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError, match=field.split("_")[-1]) as caught:
        Event(**given)
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, OpenAgentsError)


def test_patterns_match_names() -> None:
    event = Event("channel.message.posted")
    for pattern in ["*", "channel.*", "*.posted", "channel.message.posted", "workspace.channel.*"]:
        assert event.matches_pattern(pattern), pattern
    for pattern in ["", "channel", "direct.*", "channel.message.posted.*"]:
        assert not event.matches_pattern(pattern), pattern


@pytest.mark.parametrize(
    ("written", "role", "name", "kind"),
    [
        ("agent:bob", "agent", "bob", "direct"),
        ("bob", "agent", "bob", "direct"),
        ("channel:general", "channel", "general", "channel"),
        ("#general", "channel", "general", "channel"),
        ("agent:broadcast", "agent", "broadcast", "broadcast"),
        ("system:system", "system", "system", "system"),
        ("mod:forum", "mod", "forum", None),
    ],
)
def test_addresses_are_read_in_parts(written: str, role: str, name: str, kind: str | None) -> None:
    event = Event("custom.event", written, destination_id=written)
    destination, source = event.parse_destination(), event.parse_source()
    assert (destination.role, destination.destination_id, destination.desitnation_id) == (role, name, name)
    assert (source.role, source.source_id) == (role, name)
    kinds = {
        "direct": event.is_direct_message(),
        "broadcast": event.is_broadcast_message(),
        "channel": event.is_channel_message(),
        "system": event.is_system_message(),
    }
    assert {name for name, holds in kinds.items() if holds} == ({kind} if kind else set())


def test_events_survive_dictionaries_copies_and_pickles() -> None:
    event = Event("custom.event", "me", destination_id="agent:bob", payload={"big": 10**40, "text": "é"})
    assert Event.from_dict({**event.to_dict(), "unknown": 1}) == event
    assert copy.deepcopy(event) == event == pickle.loads(pickle.dumps(event))
    changed = copy.copy(event)
    changed.payload = {}
    assert changed != event and event != "event"


def test_representations_help() -> None:
    shown = repr(Event("custom.event", "me", destination_id="agent:bob", event_id="e1", payload={"n": 1}))
    assert shown == (
        "Event(\"custom.event\", source_id=\"me\", destination_id=\"agent:bob\", event_id=\"e1\", payload={'n': 1})"
    )
    assert len(repr(Event("custom.event", payload={"text": "x" * 10_000}))) < 400
    assert repr(EventResponse(False, error={"code": "forbidden", "message": "no"}, message="no")) == (
        "EventResponse(success=False, code='forbidden', message='no')"
    )
    assert "success=True" in repr(EventResponse(True, data={"message_id": "m1"}))


def test_a_response_has_the_documented_keywords() -> None:
    response = EventResponse(success=True, message="sent", data={"message_id": "m1"}, event_name="custom.event")
    assert response and response.data["message_id"] == "m1" and response.code is None
    assert response == EventResponse(**response.to_dict())
    assert not EventResponse(success=False)


def test_event_names_are_the_documented_ones() -> None:
    from openagents.models.messages import EventNames as also

    assert also is EventNames
    assert EventNames.CHANNEL_MESSAGE_POSTED == "channel.message.posted"
    assert Event(EventNames.AGENT_JOINED).matches_pattern("agent.*")


def test_contexts_are_made_from_an_event() -> None:
    payload = {"channel": "dev", "content": {"text": "hi @bob and @carol."}, "quoted_text": "before"}
    event = Event("channel.message.posted", "alice", destination_id="channel:dev", payload=payload)
    context = ChannelMessageContext(event, agent_id="me", network_id="lab")
    assert (context.channel, context.text, context.source_id) == ("dev", "hi @bob and @carol.", "alice")
    assert (context.mentions, context.mentioned_agent_id) == (["bob", "carol"], None)
    assert (context.quoted_text, context.quoted_message_id) == ("before", None)
    assert (context.message_id, context.message_type, context.thread_id) == (event.id, "channel_message", None)
    assert (context.agent_id, context.network_id, context.raw_message) == ("me", "lab", event)
    assert ChannelMessageContext(incoming_event=event, channel="other").channel == "other"

    reply = Event("channel.message.replied", "alice", reply_to_id="m1", payload={"thread_id": "m0"})
    seen = ReplyMessageContext(reply)
    assert (seen.parent_message_id, seen.reply_to_id, seen.root_message_id) == ("m1", "m1", "m0")
    assert (seen.thread_depth, seen.thread_level) == (2, 2)

    reaction = Event("workspace.reaction.removed", "bob", payload={"message_id": "m1", "reaction": "👍"})
    gone = ReactionContext(reaction)
    assert (gone.reaction, gone.reaction_type, gone.action) == ("👍", "👍", "remove")
    assert (gone.message_id, gone.target_message_id, gone.reactor_id) == ("m1", "m1", "bob")

    free = EventContext(Event("agent.message", payload={"text": "free"}))
    assert (free.text, free.incoming_thread_id, free.event_threads) == ("free", None, {})
