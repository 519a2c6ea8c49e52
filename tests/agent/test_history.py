"""The conversation is rebuilt from the log alone."""

from __future__ import annotations

from jupyterlab_postdoc.agent.history import exchanges
from jupyterlab_postdoc.protocol import (
    AssistantMessage,
    Body,
    ContextSummary,
    Event,
    Result,
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


def failed(run: str, reason: str) -> Result:
    return Result(success=False, cost=None, duration_ms=1, stop_reason=reason, runId=run)


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
        ("r2", failed("r2", "provider_timeout")),
        ("r3", UserMessage(id="m3", content="three", by="ana", runId="r3")),
        ("r4", UserMessage(id="m4", content="four", by="ana", runId="r4")),
    )
    assert [(e.user, [t.text for t in e.turns]) for e in exchanges(log, before_run="r3")] == [
        ("one", ["whole"]),
        ("two", []),
    ]


def test_what_comes_after_a_queued_message_still_belongs_to_its_own_exchange() -> None:
    log = events(
        ("r1", UserMessage(id="m1", content="one", by="ana", runId="r1")),
        ("r2", UserMessage(id="m2", content="two", by="ana", runId="r2")),
        ("r1", AssistantMessage(itemId="i1", content="answer", runId="r1")),
    )
    assert [(e.user, [t.text for t in e.turns]) for e in exchanges(log, before_run="r2")] == [("one", ["answer"])]


def test_refused_exchanges_and_the_work_of_others_are_left_out() -> None:
    log = events(
        ("r1", UserMessage(id="m1", content="bad", by="ana", runId="r1")),
        ("r1", AssistantMessage(itemId="i1", content="I will n", runId="r1", partial=True)),
        ("r1", failed("r1", "refusal")),
        ("r2", UserMessage(id="m2", content="good", by="ana", runId="r2")),
        ("r2", ToolUse(toolName="web_search", toolId="s1", toolInput={}, runId="r2", server=True)),
        ("r2", ToolResult(toolId="s1", ok=True, content="found", runId="r2", server=True)),
        ("r2", ToolUse(toolName="read_file", toolId="p1", toolInput={}, runId="r2", parent="d1")),
        ("r2", AssistantMessage(itemId="i2", content="yes", runId="r2")),
    )
    (exchange,) = exchanges(log)
    assert exchange.user == "good"
    assert [(t.text, t.calls) for t in exchange.turns] == [("yes", [])]


def test_a_summary_stands_for_everything_up_to_the_event_it_names() -> None:
    log = events(
        ("r1", UserMessage(id="m1", content="one", by="ana", runId="r1")),
        ("r1", AssistantMessage(itemId="i1", content="long ago", runId="r1")),
        ("r2", UserMessage(id="m2", content="two", by="ana", runId="r2")),
        ("r2", ContextSummary(content="We spoke of owls.", through=2, runId="r2")),
        ("r2", AssistantMessage(itemId="i2", content="two it is", runId="r2")),
    )
    (exchange,) = exchanges(log)
    assert (exchange.summary, exchange.user) == ("We spoke of owls.", "two")
    assert [t.text for t in exchange.turns] == ["two it is"]


def test_a_summary_in_the_middle_of_a_run_keeps_what_came_after_it() -> None:
    log = events(
        ("r1", UserMessage(id="m1", content="one", by="ana", runId="r1")),
        ("r1", use("a")),
        ("r1", result("a")),
        ("r1", ContextSummary(content="Cell a ran.", through=3, runId="r1")),
        ("r1", use("b")),
        ("r1", result("b")),
    )
    (exchange,) = exchanges(log)
    assert exchange.summary == "Cell a ran."
    assert [[call.id for call in t.calls] for t in exchange.turns] == [["b"]]
    assert exchange.user
