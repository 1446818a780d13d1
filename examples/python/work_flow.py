"""Upload, processing and report as a chain of custom events, and a tally after five votes."""

from collections import Counter

from openagents.agents import WorkerAgent
from openagents.agents.worker_agent import on_event
from openagents.models.event import Event
from openagents.models.event_context import EventContext, FileContext


class Processor(WorkerAgent):
    default_agent_id = "processor"

    async def on_file_received(self, context: FileContext) -> None:
        await self.send_event(
            Event(
                "workflow.processing.started",
                destination_id="agent:reporter",
                payload={"file": context.file_name, "bytes": len(context.content_bytes)},
            )
        )


class Reporter(WorkerAgent):
    default_agent_id = "reporter"

    def __init__(self, agent_id: str | None = None) -> None:
        super().__init__(agent_id)
        self.votes: Counter[str] = Counter()

    @on_event("workflow.*.started")
    async def report(self, context: EventContext) -> None:
        payload = context.payload
        await self.workspace().channel("general").post(f"{payload['file']} has {payload['bytes']} bytes")

    @on_event("poll.vote")
    async def count(self, context: EventContext) -> None:
        self.votes[context.payload["option"]] += 1
        if self.votes.total() == 5:
            winner, count = self.votes.most_common(1)[0]
            await self.post_to_channel("general", f"{winner} wins with {count} of 5")


if __name__ == "__main__":
    processor, reporter = Processor(), Reporter()
    processor.start(network_host="localhost", network_port=8700)
    reporter.start(network_host="localhost", network_port=8700)
    reporter.wait_for_stop()
    processor.stop()
