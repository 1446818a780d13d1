"""An agent around a language model. The model is given to it: any async function from messages to text will do."""

import asyncio
from collections.abc import Awaitable, Callable

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext, EventContext

Model = Callable[[list[dict[str, str]]], Awaitable[str]]


class Assistant(WorkerAgent):
    default_agent_id = "assistant"
    instruction = "You are a helpful colleague. Answer in one sentence."

    def __init__(self, model: Model, limit: float = 30.0) -> None:
        super().__init__()
        self.model = model
        self.limit = limit

    async def answer(self, history: list[dict[str, str]]) -> str:
        messages = [{"role": "system", "content": self.instruction}, *history]
        try:
            return await asyncio.wait_for(self.model(messages), self.limit)
        except asyncio.TimeoutError:
            return "I have to think longer about this; please ask again."

    async def on_channel_mention(self, context: ChannelMessageContext) -> None:
        # What was said before belongs to the question; the workspace remembers it.
        before = await self.get_recent_channel_messages(context.channel, count=10)
        history = [
            {
                "role": "assistant" if message["sender_id"] == self.agent_id else "user",
                "content": f"{message['sender_id']}: {message['text']}",
            }
            for message in reversed(before)
        ]
        await self.reply_to_message(context.channel, context.message_id, await self.answer(history))

    async def on_direct(self, context: EventContext) -> None:
        answer = await self.answer([{"role": "user", "content": context.text}])
        await self.send_direct(context.source_id, answer)


async def echo(messages: list[dict[str, str]]) -> str:
    """Stands for a model: put the call of the service of your choice here."""
    return f"You said: {messages[-1]['content']}"


if __name__ == "__main__":
    agent = Assistant(echo)
    agent.start(network_host="localhost", network_port=8700)
    agent.wait_for_stop()
