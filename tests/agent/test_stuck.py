"""Going round in circles is seen, polling for a while is not."""

from __future__ import annotations

from jupyterlab_postdoc.agent.stuck import repeats
from jupyterlab_postdoc.providers.base import ToolCall, ToolOutcome, Turn


def turn(number: int, name: str = "read_file", given: str = "a", answer: str = "same", ok: bool = True) -> Turn:
    call = ToolCall(f"t{number}", name, {"path": given})
    return Turn("", [call], {call.id: ToolOutcome(ok, answer)})


def test_the_same_call_with_the_same_answer_counts() -> None:
    turns = [turn(0, given="b"), *(turn(n) for n in range(1, 5))]
    assert repeats(turns) == 4


def test_a_new_answer_starts_the_count_again() -> None:
    turns = [turn(0), turn(1), turn(2, answer="other"), turn(3, answer="other")]
    assert repeats(turns) == 2
    assert repeats([*turns, turn(4, answer="third")]) == 1


def test_the_same_error_counts_whatever_the_input_was() -> None:
    turns = [turn(n, given=str(n), answer="no such column", ok=False) for n in range(3)]
    assert repeats(turns) == 4
    assert repeats(turns[:2]) < 3


def test_two_turns_that_alternate_count_from_six_on() -> None:
    turns = [turn(n, given="ab"[n % 2]) for n in range(6)]
    assert repeats(turns) == 6
    assert repeats(turns[:5]) == 1


def test_turns_without_calls_and_different_work_do_not_count() -> None:
    assert repeats([]) == 0
    assert repeats([Turn("thinking", [], {})]) == 0
    assert repeats([turn(n, given=str(n), answer=str(n)) for n in range(9)]) == 1
