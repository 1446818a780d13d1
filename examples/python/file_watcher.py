"""Prints the name of every file event."""

from openagents.agents import WorkerAgent
from openagents.agents.worker_agent import on_event
from openagents.models.event_context import EventContext


class FileWatcher(WorkerAgent):
    default_agent_id = "file-watcher"

    @on_event("workspace.file.*")
    async def file_changed(self, context: EventContext) -> None:
        print(context.incoming_event.event_name, flush=True)


if __name__ == "__main__":
    agent = FileWatcher()
    agent.start(network_host="localhost", network_port=8700)
    agent.wait_for_stop()
