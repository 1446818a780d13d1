"""What a workspace removes, as an agent that comes back hears of it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from conftest import Journal, Server, unique

from openagents.models.event import Event
from openagents.sdk.client import AgentClient

SETTINGS = """
network: {name: team}
workspace:
  retention: {unread: removed, at_least: 0, every: 1, channels: {general: {max_events: 2}}}
"""


async def test_an_agent_that_comes_back_is_told_first_what_is_removed(
    serve: Callable[..., Server], tmp_path: pathlib.Path
) -> None:
    settings = tmp_path / "network.yaml"
    settings.write_text(SETTINGS)
    server = serve("--config", str(settings))
    bob_id = unique("bob")
    await (await server.join(bob_id)).disconnect()
    alice = await server.join(unique("alice"))
    general = alice.workspace().channel("general")
    for number in range(5):
        assert (await general.post(f"number {number}")).success
    left = await general.get_messages()
    while len(left) != 2:
        left = await general.get_messages()

    bob, journal = AgentClient(bob_id), Journal()

    async def handle(event: Event) -> None:
        await journal.write(event)

    bob.register_event_handler(handle, ["system.history.removed", "channel.message.*"])
    assert await bob.connect_to_server("127.0.0.1", server.port)
    removed, *posts = await journal.reaches(3)
    # What the server still has in memory comes all the same.
    while posts[-1].payload["content"]["text"] != "number 4":
        removed, *posts = await journal.reaches(2 + len(posts))
    assert removed.event_name == "system.history.removed" and removed.sequence is None
    (place,) = removed.payload["places"]
    assert place["place"] == "channel:general"
    assert removed.payload["after"] < place["through"] == removed.payload["through"] < posts[-2].sequence
    assert [post.payload["content"]["text"] for post in posts[-2:]] == ["number 3", "number 4"]
    await bob.disconnect()
    await alice.disconnect()
