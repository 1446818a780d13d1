"""One agent that does what the test says, a line of JSON for each thing, and tells everything that it gets."""

import asyncio
import json
import os
import sys
import tempfile

from openagents.sdk.client import AgentClient


def say(**what):
    """Tells the test something, as one line of JSON."""
    print(json.dumps(what), flush=True)


async def heard():
    """The next line of the test."""
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    if not line:
        raise SystemExit("the test is gone")
    return json.loads(line)


async def upload(channel, filename, text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, filename)
        with open(path, "w") as file:
            file.write(text)
        return await channel.upload_file(path)


async def obey(client, what, wish):
    """Does what is wished, and tells what came of it."""
    workspace = client.workspace()
    channel = workspace.channel(wish.get("channel", "general"))
    if what == "agents":
        say(agents=await workspace.agents())
        return
    if what == "history":
        messages = await channel.get_messages()
        say(history=[[m["sender_id"], m["content"]["text"]] for m in messages])
        return
    if what == "download":
        say(content=(await workspace.download_file(wish["id"])).decode())
        return
    if what == "post":
        answer = await channel.post(wish["text"])
    elif what == "reply":
        answer = await channel.reply(wish["id"], wish["text"])
    elif what == "react":
        answer = await channel.react_to_message(wish["id"], wish["reaction"], wish["action"])
    elif what == "send":
        answer = await workspace.agent(wish["to"]).send(wish["text"])
    elif what == "upload":
        answer = await upload(channel, wish["filename"], wish["text"])
    say(answered=what, success=answer.success, message=answer.message, data=answer.data)


async def main(port, agent_id):
    client = AgentClient(agent_id)

    async def told(event):
        say(event=event.event_name, source=event.source_id, id=event.event_id, payload=event.payload)

    client.register_event_handler(told, ["*"])
    joined = await client.connect_to_server("127.0.0.1", port)
    say(joined=joined)
    while joined:
        wish = await heard()
        what = wish.pop("do")
        if what == "leave":
            say(left=await client.disconnect())
            return
        await obey(client, what, wish)


try:
    asyncio.run(asyncio.wait_for(main(int(sys.argv[1]), sys.argv[2]), 240))
except BaseException as error:
    say(failed=repr(error))
    raise
