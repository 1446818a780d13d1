"""The official server in library mode, to be measured beside ours."""

import asyncio
import socket
import tempfile

from harness import heard, run, say

from openagents.core.network import create_network


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def main():
    folder = tempfile.mkdtemp()
    http, grpc = free_port(), free_port()
    path = folder + "/network.yaml"
    with open(path, "w") as file:
        file.write(
            f"""
network:
  name: Reference
  mode: centralized
  transports:
    - {{type: http, config: {{host: 127.0.0.1, port: {http}}}}}
    - {{type: grpc, config: {{host: 127.0.0.1, port: {grpc}}}}}
  mods:
    - name: openagents.mods.workspace.messaging
      enabled: true
      config: {{default_channels: [{{name: general, description: General}}]}}
"""
        )
    network = create_network(path)
    assert await network.initialize()
    say(http=http, grpc=grpc)
    await heard()


run(main(), limit=3600)
