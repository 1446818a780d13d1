"""One agent that does what the test says, a line of JSON for each thing, and tells everything that it gets."""

import asyncio
import base64
import sys

from harness import Agent, heard, run, say


async def main(port, transport, agent_id, password_hash):
    agent = Agent(agent_id)

    async def told(event):
        say(event=event.event_name, source=event.source_id, id=event.event_id, payload=event.payload)

    agent.client.register_event_handler(told)
    joined = await agent.join(port, transport, password_hash=password_hash or None)
    say(joined=joined)
    while joined:
        wish = await heard()
        what = wish.pop("do")
        if what == "leave":
            say(left=await agent.leave())
            return
        if what == "post":
            answer = await agent.channel(wish["channel"]).post(wish["text"])
        elif what == "reply":
            answer = await agent.channel(wish["channel"]).reply(wish["id"], wish["text"])
        elif what == "react":
            channel = agent.channel(wish["channel"])
            answer = await channel.react_to_message(wish["id"], wish["reaction"], wish["action"])
        elif what == "send":
            answer = await agent.agent(wish["to"]).send(wish["text"])
        elif what == "upload":
            content = base64.b64encode(wish["text"].encode()).decode()
            payload = {
                "filename": wish["filename"],
                "file_content": content,
                "mime_type": "text/plain",
                "file_size": len(wish["text"]),
                "channel": wish["channel"],
            }
            answer = await agent.send("thread.file.upload", payload)
        elif what == "download":
            answer = await agent.send("thread.file.download", {"file_id": wish["id"]})
            say(content=base64.b64decode(answer.data["content"]).decode())
            continue
        elif what == "agents":
            say(agents=await agent.client.workspace().agents())
            continue
        elif what == "history":
            messages = await agent.channel(wish["channel"]).get_messages()
            say(history=[[m["sender_id"], m["content"]["text"]] for m in messages])
            continue
        say(answered=what, success=answer.success, message=answer.message, data=answer.data)


run(main(int(sys.argv[1]), *sys.argv[2:4], sys.argv[4] if len(sys.argv) > 4 else ""))
