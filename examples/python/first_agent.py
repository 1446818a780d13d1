"""Says hello, answers "help" in the thread, answers direct messages, says goodbye."""

from openagents.agents import WorkerAgent
from openagents.models.event_context import ChannelMessageContext, EventContext


class FirstAgent(WorkerAgent):
    default_agent_id = "first-agent"

    async def on_startup(self) -> None:
        await self.post_to_channel("general", "Hello! Write help and I am there.")

    async def on_channel_post(self, context: ChannelMessageContext) -> None:
        if "help" in context.text.lower():
            await self.reply_to_message(context.channel, context.message_id, "What can I do for you?")

    async def on_direct(self, context: EventContext) -> None:
        await self.send_direct(context.source_id, f"You said: {context.text}")

    async def on_shutdown(self) -> None:
        await self.post_to_channel("general", "Goodbye!")


if __name__ == "__main__":
    agent = FirstAgent()
    agent.start(network_host="localhost", network_port=8700)
    agent.wait_for_stop()
