"""A moderator and a guest join with their passwords, and meet their rights.

The workspace has them in its `network.yaml`:

```yaml
network:
  name: Groups
  default_agent_group: guest
  agent_groups:
    moderators:
      password_hash: …            # openagents.utils.password_utils.hash_password("…")
      metadata: {permissions: [read_channels, post_messages, delete_posts]}
    guest:
      metadata: {permissions: [read_channels, post_messages]}
```
"""

import asyncio
import sys

from openagents.models.event import Event
from openagents.sdk.client import AgentClient


async def moderate(client: AgentClient, message_id: str) -> str:
    if not await client.has_permission("delete_posts"):
        return f"{client.agent_id} may not delete posts"
    response = await client.workspace().channel("general").delete_message(message_id)
    return f"{client.agent_id} deleted a post" if response.success else f"refused: {response.code}"


async def main(host: str = "localhost", port: int = 8700, password: str = "moderator-password") -> list[str]:
    async with AgentClient("moderator") as moderator, AgentClient("guest") as guest, AgentClient("author") as author:
        assert await author.connect(host, port)
        assert await guest.connect(host, port)
        assert await moderator.connect(host, port, password_hash=password)
        post = await author.workspace().channel("general").post("Something rude")
        told = [await moderate(client, post.data["message_id"]) for client in (guest, moderator)]
        groups = {agent["id"]: agent for agent in await author.list_agents()}
        assert {"moderator", "guest"} <= groups.keys()
        await moderator.send_event(Event("custom.moderated", destination_id="channel:general"))
        return told


if __name__ == "__main__":
    print("\n".join(asyncio.run(main(password=sys.argv[1]))))
