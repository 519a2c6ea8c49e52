"""The conversation is rebuilt from the log alone."""

from __future__ import annotations

from jupyterlab_postdoc.agent.history import exchanges
from jupyterlab_postdoc.protocol import (
    AssistantMessage,
    Body,
    Event,
    Token,
    ToolResult,
    ToolUse,
    UserMessage,
    encode,
    type_of,
)


def events(*bodies: tuple[str, Body]) -> list[Event]:
    return [
        Event("c1", seq, 0.0, type_of(body), run, body.itemId if isinstance(body, Token) else None, encode(body))
        for seq, (run, body) in enumerate(bodies, 1)
    ]


def use(id: str) -> ToolUse:
    return ToolUse(toolName="nb_run", toolId=id, toolInput={"n": id}, runId="r1")


def result(id: str, ok: bool = True) -> ToolResult:
    return ToolResult(toolId=id, ok=ok, content=f"did {id}", runId="r1", data={"k": 1})


def test_turns_are_told_apart_by_their_results() -> None:
    log = events(
        ("r1", UserMessage(id="m1", content="study owls", by="ana", runId="r1")),
        ("r1", AssistantMessage(itemId="i1", content="I begin.", runId="r1")),
        ("r1", use("a")),
        ("r1", use("b")),
        ("r1", result("a")),
        ("r1", result("b", ok=False)),
        ("r1", use("c")),
        ("r1", result("c")),
        ("r1", AssistantMessage(itemId="i2", content="Done.", runId="r1")),
    )
    (exchange,) = exchanges(log)
    assert exchange.user == "study owls"
    assert [(turn.text, [call.id for call in turn.calls]) for turn in exchange.turns] == [
        ("I begin.", ["a", "b"]),
        ("", ["c"]),
        ("Done.", []),
    ]
    assert exchange.turns[0].results["b"].ok is False
    assert exchange.turns[0].results["a"].data == {"k": 1}


def test_a_call_without_a_result_is_answered_as_unknown() -> None:
    log = events(("r1", UserMessage(id="m", content="x", by="ana", runId="r1")), ("r1", use("a")))
    outcome = exchanges(log)[0].turns[0].results["a"]
    assert not outcome.ok
    assert "unknown" in outcome.content


def test_partial_replies_tokens_and_later_runs_are_left_out() -> None:
    log = events(
        ("r1", UserMessage(id="m1", content="one", by="ana", runId="r1")),
        ("r1", AssistantMessage(itemId="i0", content="cut o", partial=True, runId="r1")),
        ("r1", Token(itemId="i1", delta="who")),
        ("r1", AssistantMessage(itemId="i1", content="whole", runId="r1")),
        ("r2", UserMessage(id="m2", content="two", by="ana", runId="r2")),
        ("r3", UserMessage(id="m3", content="three", by="ana", runId="r3")),
    )
    assert [(e.user, [t.text for t in e.turns]) for e in exchanges(log, before_run="r3")] == [
        ("one", ["whole"]),
        ("two", []),
    ]
