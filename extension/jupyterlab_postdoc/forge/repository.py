"""What a research repository contains besides the notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One finished step of the run: journal key, a few words, and its commit (None: nothing changed)."""

    key: str
    title: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """All that the repository's files are written from; same study, same bytes.

    ``created`` and ``finished`` are UNIX seconds; ``requires`` are import names (template.yaml's ``requires``);
    ``title`` is the template's title or a better one; ``author`` the user's display name.
    """

    topic: str
    title: str
    repo_name: str
    template: str
    template_version: str
    provider: str
    session: str
    run: str
    author: str
    created: float
    parameters: Mapping[str, Any] = field(default_factory=dict)
    requires: Sequence[str] = ()
    plan: Sequence[str] = ()
    references: Sequence[Mapping[str, str]] = ()
    model: str | None = None
    steps: Sequence[StepRecord] = ()
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run ended: ``done``, or ``failed`` / ``stopped`` with one sentence that says what happened."""

    state: str = "done"
    reason: str = ""


async def write_skeleton(root: Path, study: Study) -> None:
    """Everything that exists before the notebook. Idempotent; a file that is there already is kept (LICENSE, README…)."""
    raise NotImplementedError


async def write_results(
    root: Path, study: Study, verdict: Mapping[str, Any] | None, *, outcome: Outcome | None = None
) -> None:
    """README.md, provenance.json, CITATION.cff and the lock files, from ``results.json``'s verdict (None: there is none)."""
    raise NotImplementedError


async def add_dataset(
    root: Path, source: Path, *, licence: str = "unknown", retrieved: float | None = None
) -> dict[str, Any]:
    """Copy the user's file into ``data/``; returns its manifest entry (``path`` is relative to the root, e.g. data/returns.csv)."""
    raise NotImplementedError
