"""Answers an upload with its lines, words or keys."""

import json
import pathlib

from openagents.agents import WorkerAgent
from openagents.models.event_context import FileContext


class FileWorker(WorkerAgent):
    default_agent_id = "file-worker"

    async def on_file_received(self, context: FileContext) -> None:
        path = pathlib.Path(context.file_path)
        match path.suffix:
            case ".json":
                counted = f"{len(json.loads(path.read_text()))} keys"
            case ".csv":
                counted = f"{len(path.read_text().splitlines())} lines"
            case _:
                counted = f"{len(path.read_text().split())} words"
        await self.workspace().channel(context.channel or "general").post(f"{context.file_name}: {counted}")


if __name__ == "__main__":
    agent = FileWorker()
    agent.start(network_host="localhost", network_port=8700)
    agent.wait_for_stop()
