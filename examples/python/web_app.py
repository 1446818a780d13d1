"""A FastAPI application with an agent inside: `uvicorn --app-dir examples/python web_app:app`.

The agent lives as long as the application, on the loop of the application.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException

from openagents.sdk.client import AgentClient

client = AgentClient("web-app")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with client:
        host, port = os.environ.get("WORKSPACE_HOST", "localhost"), int(os.environ.get("WORKSPACE_PORT", "8700"))
        if not await client.connect_to_server(host, port, metadata={"name": "Web application"}):
            raise RuntimeError(f"no workspace: {client.connect_error}")
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/agents")
async def agents() -> list[str]:
    return await client.workspace().agents()


@app.post("/ask/{agent_id}")
async def ask(agent_id: str, question: str, timeout: float = 10.0) -> dict[str, Any]:
    answer = await client.workspace().agent(agent_id).send_and_wait(question, timeout=timeout)
    if answer is None:
        raise HTTPException(504, f"{agent_id} gave no answer")
    return {"agent": agent_id, "answer": answer["text"]}
