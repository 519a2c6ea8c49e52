"""A session with a notebook, and a browser's page on it: what the sandboxed frame sends."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyterlab_postdoc.forge import names

NULL = {"Origin": "null"}


@dataclass
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def fetch(url: str, method: str = "GET", *, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """One request, redirects not followed."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = HTTPRequest(
        url, method=method, headers=headers or {}, body=data, allow_nonstandard_methods=True, follow_redirects=False,
        request_timeout=30, decompress_response=False,
    )  # fmt: skip
    try:
        answer = await SimpleAsyncHTTPClient(force_instance=True, max_body_size=1 << 30).fetch(request)
    except HTTPClientError as error:
        if error.response is None:
            raise
        answer = error.response
    return Answer(answer.code, answer.headers, answer.body or b"")


def policy_of(answer: Answer) -> dict[str, str]:
    """The Content-Security-Policy, by directive."""
    parts = (part.strip().partition(" ") for part in answer.headers["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts}


class Frame:
    """The frame of one ticket: ``url`` is what ``open`` answered, ``page`` is marimo's page in it, ``base`` where that
    one's files are.
    """

    def __init__(self, origin: str, opened: dict[str, Any], outer: Answer) -> None:
        assert outer.status == 200, outer.body
        self.opened = opened
        self.outer = outer
        self.origin = origin
        self.url = origin + opened["url"]
        self.page = origin + html.unescape(re.search(r' data-src="([^"]+)"', outer.body.decode())[1])
        self.base = self.page.partition("?")[0]
        self.secret, self.ticket = (u.partition("?")[0].rstrip("/").rpartition("/")[2] for u in (self.url, self.page))

    @classmethod
    async def enter(cls, origin: str, opened: dict[str, Any], headers: dict[str, str]) -> Frame:
        """As who is logged in opens it."""
        return cls(origin, opened, await fetch(origin + opened["url"], headers=headers))

    async def get(self, path: str = "", method: str = "GET", **headers: str) -> Answer:
        return await fetch(self.base + path, method, headers=NULL | headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await fetch(self.base + path, "POST", body=body or {}, headers=NULL | headers)

    async def socket(self, session: str = "s_1a2b3c", query: str = "", **headers: str) -> WebSocketClientConnection:
        url = f"ws{self.base.removeprefix('http')}ws?session_id={session}&file=notebook.py{query}"
        request = HTTPRequest(url, headers={k: v for k, v in (NULL | headers).items() if v})
        return await websocket_connect(request, max_message_size=64 << 20)


async def operation(socket: WebSocketClientConnection, op: str) -> dict[str, Any]:
    """The next message of marimo's of this kind."""
    while (message := await socket.read_message()) is not None:
        found = json.loads(message)
        if found.get("op") == op:
            return found.get("data", found)
    raise AssertionError(f"closed with {socket.close_code} {socket.close_reason} before {op}")


async def make_session(services: Any, http: Any, root_dir: Path, name: str = "p", headers: Any = None) -> str:
    """A chat whose project is at ``research/<name>``."""
    id = (await http("POST", "api/chats", body={"title": name}, headers=headers)).json["id"]
    root = root_dir / "research" / name
    (root / ".git").mkdir(parents=True)
    names.write_marker(root / ".git", name=name, session=id, run="r1")
    (root / "notebook.py").write_text("")
    path = f"research/{name}"
    shown = {"repo": name, "path": path, "notebook": f"{path}/notebook.py", "report": None, "commit": None}

    async def unit(tx: Any) -> None:
        row = await tx.get_session(id)
        await tx.update_session(id, meta={**row.meta, "project": shown})

    await services.log.write(unit)
    return id


async def hold(services: Any, id: str, holder: str | None) -> None:
    """Put the notebook into a person's hands, or (None) into the agent's, as the commands of the hand do."""

    async def unit(tx: Any) -> None:
        row = await tx.get_session(id)
        meta = {k: v for k, v in row.meta.items() if k != "notebook"}
        if holder is not None:
            meta["notebook"] = {"hand": "person", "holder": holder, "display": holder.title(), "since": 1.0}
        await tx.update_session(id, meta=meta)

    await services.log.write(unit)
