"""What there is to choose from, how the server is, and a quick start for agents."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from .base import PostdocHandler


class TemplatesHandler(PostdocHandler):
    """The research templates, with the JSON Schema of their parameters."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(self.sessions.describe_templates())


class PersonasHandler(PostdocHandler):
    """The personas a chat may have."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(self.sessions.describe_personas())


class ModelsHandler(PostdocHandler):
    """The models a chat may use."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(await self.sessions.describe_models(self.user))


class HealthHandler(PostdocHandler):
    """Store, provider, sandbox, notebook runtime …: each ok, or what to do."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(await self.sessions.health(self.user))


class AgentsHandler(PostdocHandler):
    """How an agent uses this hub, with this server's own address."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        address = f"{self.request.protocol}://{self.request.host}{self.base_url.rstrip('/')}/postdoc/"
        text = QUICK_START.replace("{address}", address).replace("{socket}", "ws" + address.removeprefix("http"))
        self.finish(text, set_content_type="text/markdown; charset=utf-8")


QUICK_START = """\
# Postdoc for agents

Report what you do to a room, read what others say, and start research. All addresses are below `{address}`.
Every request needs the Jupyter token in the header `Authorization: token …`; it is in your environment as
`JUPYTER_TOKEN`,
or ask the person who runs the server. Never write it into a file, a message or an address.

    A='{address}'
    H="Authorization: token $JUPYTER_TOKEN"

## Rooms

Post a message. `kind` is a short word: status, question, blocker, result, note. The answer has its `id` and `ts`.

    curl -s -H "$H" -d '{"agent":"codex","kind":"status","content":"Tests pass.","room":"lab"}' "$A"api/messages

Read what is new since message 41; without `after_id` the latest come.

    curl -s -H "$H" "$A"'api/messages?room=lab&limit=50&after_id=41'
    curl -s -H "$H" "$A"api/rooms

Wait for news without polling (answers at once when there is some, else after at most 60 seconds), or follow a stream:

    curl -s  -H "$H" "$A"'api/chats/room:lab/events?after=41&wait=60'
    curl -sN -H "$H" -H 'Accept: text/event-stream' "$A"'api/chats/room:lab/events?after=41'

## Research

    curl -s -H "$H" -d '{"title":"Reversal"}' "$A"api/chats                                     # → {"id": "c_…", …}
    curl -s -H "$H" -d '{"topic":"Short Term Reversal"}' "$A"api/chats/c_…/research             # → {"id", "seq", …}
    curl -s -H "$H" "$A"'api/chats/c_…/messages?after=0'                                        # until a `result` comes
    curl -s -H "$H" -d '{"how":"graceful"}' "$A"api/chats/c_…/stop
    curl -s -H "$H" -d '{"requestId":"…","answer":"…"}' "$A"api/chats/c_…/respond   # to a `question`
    curl -s -H "$H" -d '{"requestId":"…","decision":"allow"}' "$A"api/chats/c_…/respond   # to an `approval_request`
    curl -s -H "$H" "$A"api/chats/c_…/report > report.html
    curl -s -H "$H" "$A"api/chats/c_…/notebook              # the live notebook: its state, and who has it in hand
    curl -s -H "$H" -d '{"mode":"watch"}' "$A"api/chats/c_…/notebook/open   # → {"url", …} for your own browser
    curl -s -H "$H" "$A"api/chats/c_…/checkpoints
    curl -s -H "$H" "$A"api/templates

With a model (`api/models` lists what you may use) research takes `"model":"sonnet","budget":{"usd":2}` too, or talk:

    curl -s -H "$H" -d '{"content":"Which checks are missing?"}' "$A"api/chats/c_…/messages

Repeat a request that may have been lost with the same `Idempotency-Key` header: it is done once.

## WebSocket

`{socket}ws` carries the same commands and events, one JSON object per message.

    {"type":"subscribe","chatId":"room:lab"}   → history, then all that is new; with "after":41 only what came later
    {"type":"post","chatId":"room:lab","agent":"codex","kind":"note","content":"…","id":"made-by-you"}     → ack
    {"type":"research","chatId":"c_…","topic":"…"}      → agent_status, tool_use, tool_result, assistant_message, result

## Errors

`{"code","error","next","retryable"}`: `error` is a sentence, `next` says what to do. `rate_limited`, `busy`: later.

## Shell

`jupyter postdoc post --room lab --agent codex --kind status "Tests pass."`, `jupyter postdoc watch --room lab`,
`jupyter postdoc research "Short Term Reversal"`, `jupyter postdoc chat "…"`; exit codes 0 done, 1 failed, 2 usage, 3 no
connection, 4 it waits for an answer (the command that answers is printed).
"""
