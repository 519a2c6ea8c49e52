from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.forge.local import LocalForge
from jupyterlab_postdoc.forge.repository import Study
from jupyterlab_postdoc.notebooks.batch import BatchRuntime
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.resources import Resources
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace


class Recorder:
    """What a tool told the world: events, status lines, output, questions."""

    def __init__(self, answer: str = "") -> None:
        self.events: list[Any] = []
        self.lines: list[tuple[str, float | None]] = []
        self.output = ""
        self.questions: list[tuple[str, list[str] | None]] = []
        self.answer = answer
        self.blobs: dict[str, bytes] = {}

    def context(
        self, project: Project | None, resources: Resources | None = None, *, provider: str = "template"
    ) -> ToolContext:
        """What a tool called ``call1`` gets."""
        return ToolContext(
            call_id="call1",
            session="c1",
            emit=self.emit,
            status=self.status,
            output=self.write,
            ask=self.ask,
            provider=provider,
            resources=resources or Resources(),
            put_blob=self.put_blob,
            delegate=self.delegate,
            in_project=project,
        )

    async def put_blob(self, data: bytes, _media_type: str) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    async def delegate(self, task: str) -> ToolOutcome:
        return ToolOutcome(True, f"Read for: {task}")

    async def emit(self, *bodies: Any) -> None:
        self.events += bodies

    async def status(self, message: str, progress: float | None = None) -> None:
        self.lines.append((message, progress))

    async def write(self, text: str) -> None:
        self.output += text

    async def ask(self, question: str, options: list[str] | None, key: str = "") -> str:  # noqa: ARG002
        self.questions.append((question, options))
        return self.answer


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("blue")


@pytest.fixture
def project(tmp_path: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[Project]:
    root = tmp_path / "root" / "research" / "owls"
    root.mkdir(parents=True)
    git = Git()
    jp_asyncio_loop.run_until_complete(git.init(root))
    status = jp_asyncio_loop.run_until_complete(probe())
    workspace = Workspace(root, sandbox=choose(status, trusted=True, allow_unsandboxed=True))
    study = Study("owls", "Owls", "owls", "tiny", "1", "template", "c1", "r1", "Ana", 0.0)
    project = Project(
        study, workspace, BatchRuntime(workspace), git, LocalForge(tmp_path / "data", git), "research/owls"
    )
    yield project
    jp_asyncio_loop.run_until_complete(project.notebook.close())


@pytest.fixture
def context(project: Project, recorder: Recorder) -> ToolContext:
    return recorder.context(project)
