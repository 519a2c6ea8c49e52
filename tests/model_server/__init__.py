"""Servers that speak the Messages API, for tests and benchmarks. Each is a process of its own.

`ModelServer` says exactly what a test tells it, byte by byte, and fails in every way that a real one can.
`Aimock` is the npm package @copilotkit/aimock: somebody else's idea of the same API.

    with ModelServer() as server:
        server.script([reply("Hello."), rate_limited(1), broken(reply("Half of it"), "drop")])   # one after another
        server.rules([on(says="moon", turn=0, answer=reply(calls=[call("nb_run")])),              # by what is asked
                      on(says="moon", turn=1, answer=reply("Done."))])
        ...                                                                                       # base_url=server.url
        server.requests()[0].body["messages"]
"""

from __future__ import annotations

from tests.model_server.replies import (
    bad_request,
    broken,
    call,
    error_event,
    failed,
    fetched,
    model,
    not_found,
    on,
    overloaded,
    rate_limited,
    reply,
    search,
    text,
    thought,
    too_long,
    unauthorized,
    words,
)
from tests.model_server.server import ModelServer, Request

__all__ = [
    "ModelServer",
    "Request",
    "bad_request",
    "broken",
    "call",
    "error_event",
    "failed",
    "fetched",
    "model",
    "not_found",
    "on",
    "overloaded",
    "rate_limited",
    "reply",
    "search",
    "text",
    "thought",
    "too_long",
    "unauthorized",
    "words",
]
