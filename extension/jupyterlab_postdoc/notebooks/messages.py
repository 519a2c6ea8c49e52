"""The worker's JSON → our values. It comes from inside the sandbox: everything is typed, cut to size and looked at."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast, get_args

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.base import (
    CellError,
    CellEvent,
    CellState,
    CellStatus,
    EditResult,
    Issue,
    Output,
    Picture,
    RunEnd,
    RunReport,
    Severity,
)
from jupyterlab_postdoc.notebooks.compare import digest
from jupyterlab_postdoc.workspace.workspace import Workspace

OnEvent = Callable[[Mapping[str, Any]], Awaitable[None]]
STATUSES, SEVERITIES, ENDS = set(get_args(CellStatus)), set(get_args(Severity)), set(get_args(RunEnd))
NAME, TEXT, DATA, VERDICT = 200, 10_000, 50_000, 1_000_000
PICTURES, PICTURE_BYTES, PICTURE_WIDTH = 8, 1_000_000, 1_200
MEMORY_ERRORS = ("MemoryError", "ArrowMemoryError", "bad_alloc", "OutOfMemory")


def text(value: object, limit: int = TEXT) -> str:
    return value[:limit] if isinstance(value, str) else ""


def number(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) and abs(value) < 2**53 else None


def rows(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def names(value: object) -> tuple[str, ...]:
    return tuple(text(item, NAME) for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def status(value: object) -> CellStatus:
    return cast(CellStatus, value) if value in STATUSES else "new"


def cell_error(value: object) -> CellError | None:
    if not isinstance(value, Mapping):
        return None
    return CellError(
        text(value.get("name"), NAME) or "Error",
        text(value.get("message"), 2_000),
        number(value.get("line")),
        text(value.get("traceback")),
    )


def outputs(value: object) -> tuple[Output, ...]:
    return tuple(
        Output(
            text(item.get("kind"), 40) or "text", text(item.get("text")), data(item.get("data")), path(item.get("path"))
        )
        for item in rows(value)[:20]
    )


def path(value: object) -> str | None:
    return text(value, 500) or None


def data(value: object) -> object:
    """JSON of a bounded size, else None."""
    try:
        return value if len(json.dumps(value, allow_nan=False)) <= DATA else None
    except (ValueError, TypeError, RecursionError):
        return None


def cells(answer: Mapping[str, Any]) -> list[CellState]:
    return [
        CellState(
            text(item.get("name"), NAME),
            text(item.get("code"), 1_000_000),
            status(item.get("status", "new")),
            bool(item.get("hide_code")),
            outputs(item.get("outputs")),
            cell_error(item.get("error")),
            number(item.get("duration_ms")),
        )
        for item in rows(answer.get("cells"))
    ]


def cell_event(event: Mapping[str, Any]) -> CellEvent:
    if "waits" in event:
        return CellEvent(text(event["waits"], NAME), "queued", 0, 0, waits=True)
    return CellEvent(
        text(event.get("cell"), NAME),
        status(event.get("status")),
        number(event.get("index")) or 0,
        number(event.get("total")) or 0,
        outputs(event.get("outputs")),
        text(event.get("console"), 50_000),
        cell_error(event.get("error")),
        number(event.get("duration_ms")),
    )


def issues(answer: Mapping[str, Any]) -> list[Issue]:
    return [
        Issue(
            text(item.get("code"), 20),
            text(item.get("cell"), NAME) or None,
            number(item.get("line")),
            text(item.get("message"), 2_000),
            cast(Severity, item["severity"]) if item.get("severity") in SEVERITIES else "note",
        )
        for item in rows(answer.get("issues"))[:200]
    ]


def edit_result(answer: Mapping[str, Any]) -> EditResult:
    found, changed = cells(answer), names(answer.get("changed"))
    return EditResult(
        tuple(cell.name for cell in found),
        changed,
        names(answer.get("deleted")),
        tuple(issues(answer)),
        {cell.name: digest(cell.code) for cell in found if cell.name in changed},
    )


def verdict(answer: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    value, problem = answer.get("verdict"), text(answer.get("verdict_error"), 2_000) or None
    if value is None:
        return None, problem
    try:
        size = len(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        return None, "The verdict is not plain JSON."
    if not isinstance(value, dict) or size > VERDICT:
        return None, f"The verdict must be a JSON object of at most {VERDICT:,} characters."
    return value, problem


def files(value: object, workspace: Workspace) -> tuple[str, ...]:
    """Only paths that exist as files inside the workspace."""
    found = []
    for name in names(value):
        try:
            if workspace.resolve(name).is_file():
                found.append(name)
        except PostdocError:
            continue
    return tuple(found)


def drawn(answer: Mapping[str, Any]) -> dict[str, str]:
    """Cells that drew something, in order, each with the digest of what it was drawn from."""
    value = answer.get("drawn")
    items = list(value.items())[:500] if isinstance(value, dict) else []
    return {text(name, NAME): text(digest, 64) for name, digest in items}


def pictures(answer: Mapping[str, Any]) -> list[Picture]:
    """Only real PNG files within the limits: the bytes are shown to a model and to people."""
    found = []
    for item in rows(answer.get("pictures"))[:PICTURES]:
        try:
            data = base64.b64decode(text(item.get("png"), 2 * PICTURE_BYTES), validate=True)
        except (binascii.Error, ValueError):
            continue
        if data[:16] != b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" or not 45 <= len(data) <= PICTURE_BYTES:
            continue
        width, height = struct.unpack(">II", data[16:24])
        if 0 < width <= PICTURE_WIDTH and 0 < height <= 4 * PICTURE_WIDTH:
            found.append(Picture(text(item.get("cell"), NAME), data))
    return found


def of_death(end: str, why: str, seen: Sequence[CellEvent], known: Mapping[str, str]) -> dict[str, Any]:
    """What a run's answer would have been, from the events before the worker died."""
    last = {event.cell: event for event in seen}
    states = []
    for name, code in known.items():
        event = last.get(name)
        state: dict[str, Any] = {"name": name, "code": code, "status": event.status if event else "skipped"}
        if event and event.status == "running":
            state |= {"status": "error", "error": {"name": "KernelDied", "message": f"The process ended: {why}."}}
        elif event:
            state |= {"duration_ms": event.duration_ms, "outputs": [output_dict(o) for o in event.outputs]}
        states.append(state)
    return {"end": end, "detail": why, "cells": states}


def output_dict(output: Output) -> dict[str, Any]:
    return {"kind": output.kind, "text": output.text, "data": output.data, "path": output.path}


def run_report(
    answer: Mapping[str, Any], workspace: Workspace, memory_bytes: int, timeout_s: float, took: float
) -> RunReport:
    """The report of a run, with the one sentence that says how it went."""
    states = tuple(cells(answer))
    failed = [cell for cell in states if cell.status == "error"]
    end = cast(RunEnd, answer.get("end") if answer.get("end") in ENDS else "crashed")
    if end in ("failed", "crashed") and any(out_of_memory(cell.error) for cell in failed):
        end = "memory"
    value, problem = verdict(answer)
    executed = answer.get("executed_s")
    return RunReport(
        end=end,
        message=sentence(end, text(answer.get("detail"), 500), states, memory_bytes, timeout_s, took),
        cells=states,
        failed=tuple(cell.name for cell in failed),
        skipped=tuple(cell.name for cell in states if cell.status == "skipped"),
        verdict=value,
        verdict_error=problem,
        figures=files(answer.get("figures"), workspace),
        files=files(answer.get("files"), workspace),
        duration_s=took,
        timings={"executed_s": float(executed)} if isinstance(executed, (int, float)) else {},
    )


def out_of_memory(error: CellError | None) -> bool:
    return error is not None and (
        error.name.endswith(MEMORY_ERRORS)
        or any(word in error.message for word in ("std::bad_alloc", "Unable to allocate"))
    )


def sentence(
    end: RunEnd, detail: str, states: Sequence[CellState], memory_bytes: int, timeout_s: float, took: float
) -> str:
    first = next((cell for cell in states if cell.status == "error"), None)
    where = f"cell {first.name!r}" if first else "a cell"
    if end == "ok":
        return f"The notebook ran to its end: {count(len(states), 'cell')} in {took:.1f} s."
    if end == "timeout":
        return f"The notebook was still running after {timeout_s:g} s, in {where}; what came before it was kept."
    if end == "stopped":
        return f"The notebook was interrupted in {where}; what came before it was kept."
    if end == "memory":
        return f"The notebook needed more than {memory_bytes / (1 << 30):g} GiB in {where}."
    if end == "crashed":
        killed = "; most likely the machine ran out of memory" if "SIGKILL" in detail else ""
        return f"The notebook's Python process ended ({detail or 'for an unknown reason'}) while {where} ran{killed}."
    return failure(first, states)


def failure(first: CellState | None, states: Sequence[CellState]) -> str:
    if first is None or first.error is None:
        return "The notebook failed."
    others = sum(cell.status == "error" for cell in states) - 1
    skipped = sum(cell.status == "skipped" for cell in states)
    line = f" in line {first.error.line}" if first.error.line else ""
    what = f"Cell {first.name!r} failed{line}: {first.error.name}: {first.error.message}".rstrip(". \n")
    more = f" {count(others, 'other cell')} failed, too." if others else ""
    rest = f" {count(skipped, 'cell')} could not run because of it." if skipped else ""
    return f"{what}.{more}{rest}"


def count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
