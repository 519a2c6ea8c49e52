"""A session as lists show it: its row, what it does now or what came of it in a line, its cost, its open requests.

Any number of sessions is looked up with four questions to the store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jupyterlab_postdoc.agent.hand import hand_of
from jupyterlab_postdoc.protocol import Event, iso
from jupyterlab_postdoc.store.base import PublicationRow, Reads, SessionRow

LINE = 160
"""Characters of the line that says how a session is."""
AT_WORK = frozenset({"queued", "starting", "running", "waiting", "stopping", "interrupted"})
STATUS, REPLY, ERROR, RESULT = "agent_status", "assistant_message", "error", "result"
NEWS = (STATUS, REPLY, ERROR, RESULT)

_SENTENCE = re.compile(r"(?<=[.!?。])\s")
_MARKUP = re.compile(r"^\s*(?:[#>*+-]+|\d+[.)])\s+|[*_`]{2,}|`")
_RULE = re.compile(r"[\W_]*")


async def overview(reads: Reads, rows: Sequence[SessionRow]) -> list[dict[str, Any]]:
    """The rows as objects, in their order."""
    ids = [row.id for row in rows]
    if not ids:
        return []
    news = await reads.newest(ids, NEWS)
    costs = await reads.costs(ids)
    needs = await reads.open_requests(ids)
    published = await reads.publications(ids)
    return [
        chat_object(
            row,
            line=_line(row.state, news.get(row.id, {}), row.meta.get("summary")),
            cost=costs.get(row.id),
            needs=needs.get(row.id, 0),
            publication=published.get(row.id),
        )
        for row in rows
    ]


def chat_object(
    row: SessionRow,
    *,
    line: str | None = None,
    cost: float | None = None,
    needs: int = 0,
    publication: PublicationRow | None = None,
) -> dict[str, Any]:
    """A session as REST shows it."""
    return {
        "id": row.id,
        "title": row.title,
        "kind": row.kind,
        "state": row.state,
        "reason": row.reason,
        "model": row.model,
        "persona": row.persona,
        "provider": row.meta.get("provider", "template" if row.kind == "research" else None),
        "archived": row.archived,
        "version": row.version,
        "lastSeq": row.last_seq,
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
        "project": row.meta.get("project"),
        "template": row.meta.get("template"),
        "line": line,
        "cost": cost,
        "needs": needs,
        "publication": published(publication),
        "repository": row.meta.get("repository"),
        "notebook": _hand(row),
    }


def _hand(row: SessionRow) -> dict[str, Any] | None:
    """Who has the session's notebook; None: the agent."""
    held = hand_of(row)
    if held is None:
        return None
    return {"hand": "person", "holder": held.holder, "display": held.display, "since": iso(held.since)}


def published(row: PublicationRow | None) -> dict[str, Any] | None:
    """Where a session is published, in short; None when it is only here."""
    if row is None:
        return None
    repository, pull = row.shown.get("repository") or {}, row.shown.get("pull") or {}
    return {
        "state": row.state,
        "repository": repository.get("name", ""),
        "url": pull.get("url") or repository.get("url", ""),
        "pull": pull.get("number"),
        "pullState": "draft" if pull.get("state") == "open" and pull.get("draft") else pull.get("state", ""),
        "checks": (pull.get("checks") or {}).get("state", ""),
        "ahead": row.shown.get("ahead", 0),
    }


def _line(state: str, news: Mapping[str, Event], summary: str | None) -> str | None:
    """While it is at work what it says that it does, afterwards what came of it."""
    status, reply, error, result = (news.get(name) for name in NEWS)
    ended = max((event.seq for event in (error, result) if event), default=0)
    if state in AT_WORK:
        # What an earlier run said last is no news of this one.
        text = status.body().get("message") if status and status.seq > (result.seq if result else 0) else None
    elif result is not None and result.seq == ended:
        body = result.body()
        # Of a publication the badge tells; what came of the research before it stands here.
        text = summary if body.get("provider") == "github" else body.get("summary")
        if not text and reply is not None:
            text = reply.body().get("content")
    elif error is not None:
        text = error.body().get("error")
    else:
        text = reply.body().get("content") if reply is not None else None
    return one_line(str(text)) if text else None


def one_line(text: str) -> str | None:
    """The first sentence as plain text: no markup, no control characters, at most :data:`LINE` characters."""
    lines = (_MARKUP.sub("", line) for line in text.splitlines())
    first = next((line for line in lines if not _RULE.fullmatch(line)), "")
    sentence = " ".join(_SENTENCE.split(first.strip(), maxsplit=1)[0].split())
    plain = "".join(c for c in sentence if c.isprintable()).strip()
    return (plain if len(plain) <= LINE else plain[: LINE - 1].rstrip() + "…") or None
