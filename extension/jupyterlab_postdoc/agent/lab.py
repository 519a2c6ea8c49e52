"""What a run works with that is not of the run itself: places, tools, git, forge, bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import datasets
from jupyterlab_postdoc.forge.base import Forge
from jupyterlab_postdoc.notebooks.base import NotebookRuntime
from jupyterlab_postdoc.notebooks.live import Editors
from jupyterlab_postdoc.templates import TemplateRegistry
from jupyterlab_postdoc.tools.base import ToolBox
from jupyterlab_postdoc.tools.packages import Policy
from jupyterlab_postdoc.workspace.environments import Environments
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.processes import Limits as ProcessLimits
from jupyterlab_postdoc.workspace.workspace import Workspace

if TYPE_CHECKING:
    from jupyterlab_postdoc.publishing.attempt import PublishParts
    from jupyterlab_postdoc.publishing.repositories import Repositories

SYNTHETIC = ("synthetic", "synthetic-null")


@dataclass(frozen=True)
class Lab:
    """Everything a run works with that is not of the run itself."""

    root_dir: Path
    research_dir: str
    templates: TemplateRegistry
    tools: ToolBox
    git: Git
    forge: Forge
    make_notebook: Callable[[Workspace], NotebookRuntime]
    allow_unsandboxed: bool = False
    process_limits: ProcessLimits | None = None
    notebook_timeout_s: float = 600.0
    max_turns: int = 40
    max_minutes: float = 60.0
    repositories: Repositories | None = None
    publishing: PublishParts | None = None
    pages: bool = False
    """Whether studies get a workflow that publishes their report."""
    environments: Environments | None = None
    missing_packages: Policy = "ask"
    """Packages that projects import and that are not installed: who says whether they come."""
    editors: Editors | None = None
    """The live notebooks; None: there are none on this server."""

    @property
    def queue(self) -> str:
        """The queue of this root directory: a run's files lie below it, so no server with another root may take it."""
        return f"root:{hashlib.sha256(str(self.root_dir.resolve()).encode()).hexdigest()[:16]}"


def data_file(root_dir: Path, given: str) -> Path:
    """The user's data file below the server's root directory; raises forbidden, bad_message or too_large."""
    root = root_dir.resolve()
    try:
        path = (root / given).resolve()
        inside = path.is_relative_to(root)
        exists = inside and path.is_file()
    except (OSError, ValueError):
        inside, exists = True, False
    if not inside:
        raise PostdocError(
            "forbidden",
            f"The data file {given[:200]!r} is outside the server's folder.",
            next="Copy it into the folder that the Jupyter server shows, and give the path from there.",
        )
    if not exists:
        raise PostdocError(
            "bad_message",
            f"There is no data file {given[:200]!r} in the server's folder.",
            next="Give the path relative to the folder that the Jupyter server shows.",
        )
    datasets.check(path)
    return path
