"""provenance.json: who made a study, how, with what, which step made which commit, and what the files should be."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from jupyterlab_postdoc import __version__
from jupyterlab_postdoc.forge import datasets, published
from jupyterlab_postdoc.forge.study import Outcome, StepRecord, Study
from jupyterlab_postdoc.forge.text import json_text, moment

CHECKSUMS = (
    *("notebook.py", "results.json", "reports/report.html", "reports/interactive.html", "figures/figure.png"),
    *("requirements.lock", "reproduce.py", ".github/workflows/reproduce.yml"),
)
"""Files whose sha256 is noted."""
_MAX_HASHED = 64 << 20


def provenance(root: Path, study: Study, outcome: Outcome, packages: Mapping[str, str]) -> str:
    """Steps with their commits, but for the commit that holds this very file: it cannot know its own name."""
    return json_text(
        {
            "version": 1,
            "topic": study.topic,
            "title": study.title,
            "repository": study.repo_name,
            "template": {"name": study.template, "version": study.template_version} if study.template else None,
            "provider": study.provider,
            "model": study.model,
            "language_model_used": study.used_model,
            **_model_details(study),
            "reviewed_by": [],
            "session": study.session,
            "run": study.run,
            **({"forked_from": {"sessions": [*study.origins], "commit": study.forked_at}} if study.origins else {}),
            "asked_by": study.author,
            "created": moment(study.created),
            "finished": None if study.finished is None else moment(study.finished),
            "outcome": {"state": outcome.state, "reason": outcome.reason},
            "parameters": {key: _without_directories(value) for key, value in study.parameters.items()},
            "plan": list(study.plan),
            "steps": [_step(step) for step in study.steps],
            "data": datasets.entries(root),
            "commits_are": _COMMITS_ARE,
            **({"published": there} if (there := published.published(study.home, study.branch)) else {}),
            "files": {path: digest for path in CHECKSUMS if (digest := _sha256(root / path))},
            "python": platform.python_version(),
            "platform": f"{sys.platform} {platform.machine()}",
            "packages": dict(packages),
            "generator": {"name": "jupyterlab-postdoc", "version": __version__},
        }
    )


_COMMITS_ARE = (
    "those of the repository in which the study was made; a publication without workflows or squashed to one commit "
    "has others, with the same Research-Step lines in their messages or with all steps in one"
)


def _model_details(study: Study) -> dict[str, Any]:
    """Who the model was told to be, checksums of what it was told, and which of its runs changed the study later."""
    found: dict[str, Any] = {"persona": study.persona} if study.persona else {}
    if study.prompts:
        found["prompts_sha256"] = dict(study.prompts)
    if study.revisions:
        found["revisions"] = [
            {"run": made.run, "model": made.model, "persona": made.persona, "at": moment(made.at)}
            for made in study.revisions
        ]
    return found


def _step(step: StepRecord) -> dict[str, Any]:
    described = {"key": step.key, "title": step.title, "commit": step.commit}
    return described if step.run is None else {**described, "run": step.run}


def _without_directories(value: Any) -> Any:
    """An absolute path of the user's machine is nobody else's business: its last part stays."""
    if isinstance(value, str) and (value.startswith("~") or PurePosixPath(value).is_absolute()):
        return PurePosixPath(value).name
    if isinstance(value, str) and PureWindowsPath(value).is_absolute():
        return PureWindowsPath(value).name
    return value


def _sha256(path: Path) -> str | None:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_HASHED:
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
