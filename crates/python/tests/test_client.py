"""`AgentClient`: connecting, sending, waiting, who is there."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest
from conftest import Journal, Server, unique

from openagents.core.client import AgentClient as OlderPath
from openagents.errors import InvalidInputError, NotConnectedError, RefusedError
from openagents.models.event import Event
from openagents.sdk.client import AgentClient
from openagents.utils.password_utils import hash_password, verify_password

PAYLOADS: list[dict[str, Any]] = [
    {},
    {"nested": {"list": [1, [2, {"deep": None}]], "empty": {}, "none": None}},
    {"text": "Grüße, 你好, 😀 \u2028 \x00 \"quoted\"\n"},
    {"big": 10**40, "negative": -(2**63) - 1, "zero": 0},
    {"floats": [0.1, 1e300, 5e-324, 0.1 + 0.2, 1.0, -0.0]},
    {"keys": {"": 1, "ключ": 2, " ": 3}},
    {"deep": [[[[[[[[[[1]]]]]]]]]]},
]


async def test_connecting_gives_true_and_a_live_connector(server: Server) -> None:
    client = AgentClient(agent_id=unique("me"))
    assert client.connector is None
    assert await client.connect_to_server("127.0.0.1", server.port, metadata={"name": "Me"}) is True
    assert client.connector is not None and client.connector.is_connected
    assert "connected" in repr(client) and client.agent_id in repr(client)
    assert await client.disconnect() is True
    assert not client.connector.is_connected
    assert await client.disconnect() is False
    assert "not connected" in repr(client)


async def test_every_spelling_of_connecting_works(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "openagents")
    assert OlderPath is AgentClient
    async with AgentClient(unique("me")) as client:
        assert await client.connect(host="127.0.0.1", port=server.port)
        assert await client.connect_to_server(
            network_host="127.0.0.1",
            network_port=server.port,
            network_id="openagents://somewhere",
            enforce_transport_type="grpc",
            max_message_size=104857600,
            skip_detection=True,
            use_tls=False,
            ssl_verify=True,
            timeout=10,
        )
        assert await client.connect_to_server(f"http://127.0.0.1:{server.port}", server.port)
    ignored = [record.getMessage() for record in caplog.records if "without effect" in record.getMessage()]
    assert ignored == [
        "connect_to_server: without effect here: network_id, enforce_transport_type, max_message_size, skip_detection"
    ]


async def test_an_unreachable_or_refusing_server_is_false(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = taken.getsockname()[1]
        client = AgentClient(unique("me"))
        assert await client.connect_to_server("127.0.0.1", nobody) is False
    assert client.connect_error is not None and client.connect_error.code == "unreachable"
    assert client.connect_error.retryable and client.connector is None
    guarded = serve("--token", "the-right-token")
    assert await client.connect_to_server("127.0.0.1", guarded.port, token="wrong") is False
    assert client.connect_error.code == "unauthenticated" and "wrong" not in caplog.text
    assert await client.connect_to_server("127.0.0.1", guarded.port, token="the-right-token") is True
    assert client.connect_error is None
    await client.disconnect()
    hashed = hash_password("the-right-token")
    assert await client.connect_to_server("127.0.0.1", guarded.port, password_hash=hashed) is True
    await client.disconnect()
    assert await client.connect_to_server(network_id="openagents://name") is False


@pytest.mark.parametrize(
    ("agent_id", "host", "options", "field"),
    [
        ("agent:broadcast", "127.0.0.1", {}, "agent_id"),
        ("me", "two words", {}, "host"),
        ("me", "127.0.0.1", {"metadata": {"time": object()}}, "metadata"),
        ("me", "127.0.0.1", {"metadata": [1]}, "metadata"),
        ("me", "127.0.0.1", {"ssl_ca_cert": "/does/not/exist", "use_tls": True}, None),
    ],
)
async def test_arguments_that_break_a_rule_are_an_error(
    server: Server, agent_id: str, host: str, options: dict[str, Any], field: str | None
) -> None:
    client = AgentClient(agent_id)
    with pytest.raises(InvalidInputError) as caught:
        await client.connect_to_server(host, server.port, **options)
    assert caught.value.field == field


async def test_a_client_without_an_id_gets_a_unique_one(server: Server) -> None:
    first, second = AgentClient(), AgentClient(mod_adapters=[object()])
    assert await first.connect_to_server("127.0.0.1", server.port)
    assert await second.connect_to_server("127.0.0.1", server.port)
    assert first.agent_id and first.agent_id != second.agent_id
    await asyncio.gather(first.disconnect(), second.disconnect())


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_every_payload_arrives_unharmed(server: Server, payload: dict[str, Any]) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        waiting = asyncio.create_task(bob.wait_event(lambda event: event.event_name == "custom.payload"))
        await asyncio.sleep(0)
        response = await alice.send_event(
            Event("custom.payload", destination_id=f"agent:{bob.agent_id}", payload=payload, metadata=payload)
        )
        assert response.success, response
        event = await waiting
        assert event is not None
        assert (event.payload, event.metadata, event.source_id) == (payload, payload, alice.agent_id)
        assert repr(event.payload) == repr(payload)
        general = alice.workspace().channel("general")
        assert (await general.post({"text": "data", **payload})).success
        newest = (await general.get_messages(limit=1))[0]
        assert {**newest["content"]} == {"text": "data", **payload}


async def test_what_json_cannot_say_is_told_before_it_is_sent(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        general = alice.workspace().channel("general")
        for content in [{"set": {1}}, {"nan": float("nan")}, {"half": "\ud800"}, ["list"], 7]:
            with pytest.raises(InvalidInputError) as caught:
                await general.post(content)  # type: ignore[arg-type]
            assert caught.value.field == "content"
        looped: dict[str, Any] = {}
        looped["self"] = looped
        with pytest.raises(InvalidInputError):
            await alice.send_agent_message("bob", looped)


async def test_events_go_to_agents_channels_and_everyone(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()
        bob.register_event_handler(journal.write, "custom.*")
        for number, destination in enumerate([f"agent:{bob.agent_id}", bob.agent_id, "channel:general", "agent:broadcast"]):
            event = Event(f"custom.number{number}", f"agent:{alice.agent_id}", destination_id=destination)
            response = await alice.send_event(event)
            assert response.success and response.event_name == event.event_name
            assert response.data["event_id"] == event.event_id
        arrived = await journal.reaches(4)
        assert [event.event_name for event in arrived] == [f"custom.number{number}" for number in range(4)]
        assert [event.sequence for event in arrived] == sorted(event.sequence for event in arrived)


async def test_many_events_are_sent_in_order_with_an_answer_for_each(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()
        bob.register_event_handler(journal.write, "custom.*")
        target = f"agent:{bob.agent_id}"
        events = [Event("custom.number", destination_id=target, payload={"n": n}) for n in range(3000)]
        answers = await alice.send_events([*events, Event("custom.nowhere")])
        assert all(answer.success for answer in answers[:-1]) and answers[-1].code == "invalid_destination"
        assert [event.payload["n"] for event in await journal.reaches(3000)] == list(range(3000))


async def test_refusals_are_responses_with_a_code(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        cases = [
            (Event("custom.event", destination_id="agent:never-seen"), "agent_not_found"),
            (Event("custom.event", destination_id="channel:nowhere"), "channel_not_found"),
            (Event("custom.event"), "invalid_destination"),
            (Event("agent.joined", destination_id="agent:broadcast"), "reserved_event_name"),
        ]
        for event, code in cases:
            response = await alice.send_event(event)
            assert (response.success, response.code) == (False, code), response
            assert response.message and response.data is None and not response


async def test_a_repeated_event_changes_nothing(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        event = Event("custom.once", destination_id=f"agent:{bob.agent_id}", payload={"n": 1})
        first, second = await alice.send_event(event), await alice.send_event(event)
        assert (first.success, second.success, second.data["duplicate"]) == (True, True, True)
        event.payload["n"] = 2
        assert (await alice.send_event(event)).code == "event_id_reused"


async def test_agents_are_listed_with_what_they_say_of_themselves(server: Server) -> None:
    described = {"name": "Reviewer", "capabilities": ["review", "python"], "role": "worker", "nested": {"n": [1]}}
    alice = await server.join(unique("alice"), metadata=described)
    async with server.joined("bob") as (bob,):
        found = {agent["id"]: agent for agent in await bob.list_agents()}
        assert found[alice.agent_id]["name"] == "Reviewer"
        assert found[alice.agent_id]["agent_id"] == alice.agent_id
        assert found[alice.agent_id]["capabilities"] == ["review", "python"]
        assert found[alice.agent_id]["metadata"] == described
        assert found[bob.agent_id].get("name", "unnamed") == "unnamed"
        assert [agent["id"] for agent in await bob.find_agents("review")] == [alice.agent_id]
        await alice.set_status("busy")
        await alice.set_metadata({"name": "Another"})
        info = await bob.workspace().agent(alice.agent_id).get_agent_info()
        assert (info["agent_id"], info["status"], info["metadata"]) == (alice.agent_id, "busy", {"name": "Another"})
        assert {"name", "version", "description", "requires_adapter"} <= (await bob.list_mods())[0].keys()
        assert await bob.has_permission("post_messages") in (True, False)
        assert (await bob.get_permissions())["role"]
    await alice.disconnect()


async def test_a_free_payload_goes_to_one_agent(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()
        bob.register_event_handler(journal.write, ["agent.message"])
        assert (await alice.send_agent_message(bob.agent_id, {"text": "free", "n": 1})).success
        assert (await alice.send_agent_message(destination_id=bob.agent_id, payload={"n": 2})).success
        first, second = await journal.reaches(2)
        assert (first.payload, first.text, second.payload["n"]) == ({"text": "free", "n": 1}, "free", 2)


async def test_a_wait_finds_what_comes_and_what_came_since_the_last_call(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        bob.register_event_handler(lambda event: None, "custom.never")
        general = alice.workspace().channel("general")
        await bob.workspace().channel("general").get_messages()
        await general.post("early")
        seen = await bob.wait_event(lambda event: event.text == "early", timeout=10)
        assert seen is not None and seen.source_id == alice.agent_id
        assert await bob.wait_event(lambda event: event.text == "early", timeout=0.01) is None
        waiting = asyncio.create_task(bob.wait_event(timeout=10.0))
        await asyncio.sleep(0)
        await general.post("late")
        found = await waiting
        assert found is not None and found.text == "late"
        assert await bob.wait_event(condition=lambda event: False, timeout=0) is None


async def test_a_condition_that_fails_ends_its_wait_only(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        broken = asyncio.create_task(bob.wait_event(lambda event: event.payload["missing"]))
        sound = asyncio.create_task(bob.wait_event(lambda event: event.event_name == "custom.event"))
        await asyncio.sleep(0)
        await alice.send_event(Event("custom.event", destination_id="agent:broadcast"))
        with pytest.raises(KeyError):
            await broken
        assert (await sound) is not None


async def test_subscriptions_narrow_what_comes(server: Server) -> None:
    async with server.joined("alice", "bob") as (alice, bob):
        journal = Journal()
        bob.register_event_handler(journal.write)
        made = await bob.subscribe_events(["custom.wanted", "custom.last"], channels=["general"])
        assert made.success
        for name in ["custom.other", "custom.wanted"]:
            await alice.send_event(Event(name, destination_id="channel:general"))
        assert [event.event_name for event in await journal.reaches(1)] == ["custom.wanted"]
        assert (await bob.unsubscribe_events(made.data["subscription_id"])).success
        assert (await bob.unsubscribe_events(made.data["subscription_id"])).code == "subscription_not_found"
        assert (await bob.subscribe_events("")).code == "invalid_name"
        await alice.send_event(Event("custom.other", destination_id="channel:general"))
        assert [event.event_name for event in await journal.reaches(2)] == ["custom.wanted", "custom.other"]


async def test_without_a_connection_every_call_says_so() -> None:
    client = AgentClient("me")
    ws = client.workspace()
    response = await ws.channel("general").post("hello")
    assert (response.success, response.code) == (False, "hello_expected")
    assert await ws.agent("bob").send_and_wait("?") is None
    assert (await ws.channel("general").upload_file(__file__)).success is False
    for call in [client.list_agents(), ws.channels(), ws.agents(), ws.list_files()]:
        with pytest.raises(NotConnectedError) as caught:
            await call
        assert caught.value.code == "not_connected" and isinstance(caught.value, ConnectionError)


async def test_a_refused_call_is_an_exception_with_its_code(server: Server) -> None:
    async with server.joined("alice") as (alice,):
        with pytest.raises(RefusedError) as caught:
            await alice.workspace().create_channel("general")
        assert (caught.value.code, str(caught.value).endswith("[channel_exists]")) == ("channel_exists", True)
        assert "code='channel_exists'" in repr(caught.value)


def test_passwords_are_hashed_as_configurations_want_them() -> None:
    assert hash_password("secret") == "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    assert verify_password("secret", hash_password("secret")) and not verify_password("other", hash_password("secret"))
    with pytest.raises(ValueError, match="empty"):
        hash_password("")
