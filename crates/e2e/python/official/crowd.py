"""Many official clients in one process, which write to each other for a while. At the end each tells what it got."""

import asyncio
import sys
import time

from harness import Agent, heard, run, say

# Longer than anything is on its way, in seconds.
PATIENCE = 90


class Member(Agent):
    """An agent of the crowd."""

    def texts(self):
        """What was said to it."""
        return [event.payload["content"]["text"] for event in self.got if "content" in event.payload]


async def main(port, transport, first, count, everybody, seconds):
    agents = [Member(f"crowd-{first + n}") for n in range(count)]
    gate = asyncio.Semaphore(8)

    async def join(agent):
        async with gate:
            return await agent.join(port, transport)

    joined = await asyncio.gather(*(join(agent) for agent in agents))
    say(joined=sum(joined))
    await heard()

    sent = []

    async def write(number, agent):
        """About one message in two seconds: to the next agent, and now and then to everybody in a channel."""
        until = time.monotonic() + seconds
        n = 0
        await asyncio.sleep(2 * number / count)
        while time.monotonic() < until:
            text = f"{agent.id}/{n}"
            if n % 10 == 9:
                answer = await agent.channel("crowd").post(text)
                to = "*"
            else:
                to = f"crowd-{(first + number + 1 + n) % everybody}"
                if to == agent.id:
                    n += 1
                    continue
                answer = await agent.agent(to).send(text)
            if answer and answer.success:
                sent.append([to, agent.id, text])
            n += 1
            await asyncio.sleep(2)

    await asyncio.gather(*(write(number, agent) for number, agent in enumerate(agents)))
    say(sent=sent)
    # How many different ones each of these agents is to have got; they are on their way.
    due = await heard()

    def missing():
        return any(len(set(agent.texts())) < due.get(agent.id, 0) for agent in agents)

    begun = time.monotonic()
    while missing() and time.monotonic() < begun + PATIENCE:
        await asyncio.sleep(0.1)
    # Whatever comes twice comes now.
    await asyncio.sleep(3)
    say(got={agent.id: agent.texts() for agent in agents})
    await heard()
    await asyncio.gather(*(agent.leave() for agent in agents))


run(main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:7])), limit=1800)
