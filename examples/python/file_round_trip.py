"""Uploads a report, lists, downloads, compares; sends a table to an agent."""

import asyncio
import pathlib
import tempfile

from openagents.sdk.client import AgentClient


async def main(host: str = "localhost", port: int = 8700) -> bool:
    async with AgentClient("analyst") as analyst, AgentClient("archivist") as archivist:
        await analyst.connect_to_server(host, port)
        await archivist.connect_to_server(host, port)
        with tempfile.TemporaryDirectory() as written:
            folder = pathlib.Path(written)
            report = folder / "report.md"
            report.write_text("# Report\n\nEverything went well.\n")
            shared = await analyst.workspace().channel("general").upload_file(report, description="This week")

            files = {file["id"]: file for file in await archivist.workspace().list_files()}
            found = files[shared.data["file_id"]]
            copy = await archivist.workspace().download_file(found["id"], folder / "copy.md")
            same = pathlib.Path(copy).read_bytes() == report.read_bytes()

            table = folder / "table.csv"
            table.write_text("name,count\nevents,7\n")
            sent = await analyst.workspace().agent("archivist").send_file(table)
            content = await archivist.workspace().download_file(sent.data["file_id"])
            return same and found["name"] == "report.md" and content == table.read_bytes()


if __name__ == "__main__":
    print("the same" if asyncio.run(main()) else "different")
