"""Makes a new directory into a running workspace that an agent joins."""

import asyncio
import pathlib
import sys
import tempfile

from openagents.sdk.client import AgentClient


async def main(program: str = "openagents", port: int = 8700) -> list[str]:
    with tempfile.TemporaryDirectory() as written:
        folder = pathlib.Path(written) / "my-workspace"
        init = await asyncio.create_subprocess_exec(
            program, "network", "init", str(folder), stdout=asyncio.subprocess.DEVNULL
        )
        assert await init.wait() == 0
        server = await asyncio.create_subprocess_exec(
            *[program, "network", "start", "--config", str(folder / "network.yaml"), "--port", str(port)],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert server.stdout is not None
            ready = (await server.stdout.readline()).decode().split()
            async with AgentClient("pioneer") as client:
                await client.connect_to_server("localhost", int(ready[1].rsplit(":", 1)[1]))
                await client.workspace().channel("general").post("First!")
                return await client.workspace().channels()
        finally:
            server.terminate()
            await server.communicate()


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:2])))
