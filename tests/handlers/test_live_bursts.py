"""The messages of a short run reach a page at once, everything else as it comes; the order never changes."""

from __future__ import annotations

import json

import pytest

from jupyterlab_postdoc.handlers.live.bursts import HOLD_S, MOST, Bursts, together


def told(op: str, **data: object) -> str:
    """As marimo writes it."""
    data = {"op": op, **data}
    return f'{{"op": "{op}", "data": {json.dumps(data, separators=(",", ":"))}}}'


QUEUED = told("cell-op", cell_id="Hbol", status="queued")
RUNNING = told("cell-op", cell_id="Hbol", status="running")
OUTPUT = told("cell-op", cell_id="Hbol", output={"mimetype": "text/plain", "data": '"status":"queued"'})
COMPLETED = told("completed-run", run_id=None)
CHANGE = told("notebook-document-transaction", transaction={})
RUN = [
    CHANGE,
    COMPLETED,  # as marimo tells it after a change that runs nothing
    told("remove-ui-elements", cell_id="Hbol"),
    told("variables", variables=[]),
    QUEUED,
    told("execution", cell_id="Hbol", phase="planned"),
    RUNNING,
    OUTPUT,
    told("cell-op", cell_id="Hbol", status="idle"),
]


@pytest.mark.parametrize("first", [0, 2, 3, 4])
def test_a_short_run_goes_at_its_end(first: int) -> None:
    bursts = Bursts()
    for number, message in enumerate(RUN[first:]):
        bursts.add(message, number / 1000)
        assert bursts.wait(number / 1000) > 0
    bursts.add(COMPLETED, 0.02)
    assert bursts.wait(0.02) == 0
    assert bursts.take() == [*RUN[first:], COMPLETED]
    assert bursts.wait(0.02) is None


def test_a_long_run_is_shown_while_it_goes_on() -> None:
    bursts = Bursts()
    bursts.add(QUEUED, 5.0)
    assert bursts.wait(5.0) == pytest.approx(HOLD_S)
    bursts.add(RUNNING, 5.02)  # what comes later does not put it off
    assert bursts.wait(5.02) == pytest.approx(HOLD_S - 0.02)
    assert bursts.wait(5.0 + HOLD_S) == 0
    assert bursts.take() == [QUEUED, RUNNING]
    for number in range(3):  # and then everything comes as it is told
        bursts.add(told("cell-op", cell_id="Hbol", console=[{"data": str(number)}]), 5.5)
        assert bursts.wait(5.5) == 0
        assert len(bursts.take()) == 1


@pytest.mark.parametrize(
    "message",
    [
        told("completion-result", options=[]),
        RUNNING,
        OUTPUT,
        COMPLETED,
        b"\x00",
        "",
    ],
)
def test_what_belongs_to_no_run_waits_for_nothing(message: str | bytes) -> None:
    bursts = Bursts()
    bursts.add(message, 1.0)
    assert bursts.wait(1.0) == 0
    assert bursts.take() == [message]


def test_much_does_not_wait() -> None:
    bursts = Bursts()
    bursts.add(QUEUED, 1.0)
    bursts.add(told("cell-op", cell_id="Hbol", output={"data": "x" * MOST}), 1.0)
    assert bursts.wait(1.0) == 0
    assert len(bursts.take()) == 2


def test_several_messages_travel_as_one() -> None:
    assert together([QUEUED]) == [QUEUED]
    assert together([QUEUED, b"x"]) == [QUEUED, b"x"]
    [one] = together([QUEUED, OUTPUT, COMPLETED])
    assert one[1:].split("\x1e") == [QUEUED, OUTPUT, COMPLETED]
    assert "\x1e" not in told("cell-op", output={"data": "\x1e"})
