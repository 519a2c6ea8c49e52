"""A service whose model is the scripted server, and words for what tests do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.model_server import ModelServer, Request

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services

from .support import ANA, new_chat
from .support import serving as services_at

KEY = "sk-ant-test-0123456789abcdef"


def settings(home: Path, server: ModelServer, **config: Any) -> dict[str, Any]:
    """Settings that lead to the scripted server, with a key in a file and short waits."""
    key = home / "key"
    if not key.exists():
        home.mkdir(parents=True, exist_ok=True)
        key.touch(mode=0o600)
        key.write_text(KEY)
    quick = {"model_retry_wait_s": 0.01, "model_read_timeout_s": 1.0}
    return {"anthropic_base_url": server.url, "anthropic_api_key_file": str(key), **quick, **config}


@asynccontextmanager
async def modelled(home: Path, *replies: dict[str, Any], **config: Any) -> AsyncIterator[tuple[Services, ModelServer]]:
    """A running service and its model: replies one after another, then the rules (``on``) among them."""
    home.mkdir(parents=True, exist_ok=True)
    with ModelServer(record=home / "requests.jsonl") as server:
        server.script([one for one in replies if "when" not in one])
        server.rules([one for one in replies if "when" in one])
        async with services_at(home, **settings(home, server, **config)) as services:
            yield services, server


async def say(services: Services, text: str, chat: str | None = None, **fields: Any) -> str:
    """Say something in a new chat (or this one); the chat's id."""
    chat = chat or await new_chat(services)
    await services.sessions.submit(ANA, protocol.Chat(chatId=chat, content=text, **fields))
    return chat


async def respond(services: Services, chat: str, request: str, **fields: Any) -> None:
    """Answer a question or a request for leave."""
    await services.sessions.submit(ANA, protocol.Respond(chatId=chat, requestId=request, **fields))


def texts(events: list[dict[str, Any]], *, partial: bool = False) -> list[str]:
    """The assistant's messages: the whole ones, or those that were cut off."""
    said = [event for event in events if event["type"] == "assistant_message"]
    return [event["content"] for event in said if bool(event.get("partial")) == partial]


def told(request: Request) -> list[str]:
    """All texts of the last user message of a request."""
    message = request.messages[-1]
    assert message["role"] == "user"
    found = []
    for block in message["content"]:
        if block["type"] == "text":
            found.append(block["text"])
        elif block["type"] == "tool_result":
            found += [part["text"] for part in block["content"] if part["type"] == "text"]
    return found
