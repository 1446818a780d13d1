"""Has one effect per event id, however often the event comes, also across restarts."""

import pathlib
import sys

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext


class Deduplicator(WorkerAgent):
    default_agent_id = "deduplicator"

    def __init__(self, notes: pathlib.Path) -> None:
        super().__init__()
        self.notes = notes
        self.seen = set(notes.read_text().split()) if notes.exists() else set()

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        event = context.incoming_event
        if event.id in self.seen:
            return
        self.seen.add(event.id)
        with self.notes.open("a") as notes:
            notes.write(f"{event.id}\n")


if __name__ == "__main__":
    agent = Deduplicator(pathlib.Path(sys.argv[1]))
    agent.start(network_host="localhost", network_port=8700)
    agent.wait_for_stop()
