"""Many official clients in one process, which write to each other for a while. At the end each tells what it got."""

import asyncio
import sys
import time

from harness import Agent, heard, run, say


async def main(port, transport, first, count, everybody, seconds):
    agents = [Agent(f"crowd-{first + n}") for n in range(count)]
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
    say(sent=len(sent))
    await heard()
    # The last ones are on their way: they are there when the counts stand still.
    before = -1
    while before != sum(len(agent.got) for agent in agents):
        before = sum(len(agent.got) for agent in agents)
        await asyncio.sleep(3)
    got = {
        agent.id: [event.payload["content"]["text"] for event in agent.got if "content" in event.payload]
        for agent in agents
    }
    say(sent_all=sent, got=got)
    await heard()
    await asyncio.gather(*(agent.leave() for agent in agents))


run(main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:7])), limit=1800)
