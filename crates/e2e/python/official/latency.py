"""An official client that tells how old each message was when its handler got it. The text is when it was written."""

import asyncio
import sys
import time

from harness import Agent, heard, run, say


async def main(port, transport):
    agent = Agent("listener-" + transport)

    async def take(event):
        now = time.time()
        if event.event_name == "thread.direct_message.notification":
            say(milliseconds=(now - float(event.payload["content"]["text"])) * 1000)

    agent.client.register_event_handler(take)
    say(joined=await agent.join(port, transport))
    await heard()


run(main(int(sys.argv[1]), sys.argv[2]), limit=3600)
