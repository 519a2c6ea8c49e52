"""A study whose notebook a person has changed: its README and its provenance must not claim that the verdict is its."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.agent import provenance
from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.forge import names, repository, tree
from jupyterlab_postdoc.forge.study import Outcome, Study
from jupyterlab_postdoc.publishing.places import CHECKOUT
from jupyterlab_postdoc.store.base import RUN_OPEN, Reads, SessionRow


async def describe(reads: Reads, lab: Lab, session: SessionRow, root: Path, reason: str) -> None:
    """README and provenance say that the results are not those of this notebook. A run at work does that at its end."""
    if await reads.list_runs(session.id, status=RUN_OPEN):
        return
    study = await _study(reads, lab, session, root)
    if study is None:
        return
    found = await lab.git.log(root, limit=provenance.MAX_COMMITS)
    study, steps = provenance.recorded(study, found)
    study = replace(study, steps=tuple(steps), finished=time.time())
    verdict = await asyncio.to_thread(_verdict, root)
    outcome = Outcome("changed", reason) if verdict is not None else Outcome("failed", "There is no verdict.")
    own = lab.environments.find(root) if lab.environments is not None else None
    packages = own.packages if own is not None else None
    await repository.write_results(root, study, verdict, outcome=outcome, packages=packages, header=False)


def maker(root: Path, session: SessionRow) -> str:
    """The run that made the study: what a person does belongs to no run of an agent."""
    return str(names.read_marker(root / ".git").get("run") or session.id)


async def _study(reads: Reads, lab: Lab, session: SessionRow, root: Path) -> Study | None:
    if session.meta.get(CHECKOUT):
        return await provenance.newest_study(reads, session.id)
    return await provenance.known_study(reads, lab.templates, maker(root, session), root.name)


def _verdict(root: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(tree.read(root, "results.json"))
    except (OSError, ValueError, RecursionError):  # an agent may have written anything
        return None
    return found if isinstance(found, dict) else None
