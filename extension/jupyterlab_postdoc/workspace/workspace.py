"""One research repository as tools see it: paths that cannot escape, files with limits, programs in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jupyterlab_postdoc.workspace.processes import Completed, Limits, OnOutput
from jupyterlab_postdoc.workspace.sandbox import Sandbox


class Workspace:
    """``root`` is an existing folder; ``name`` is how messages call it."""

    def __init__(self, root: Path, *, sandbox: Sandbox, limits: Limits | None = None) -> None:
        self.root = root
        self.sandbox = sandbox
        self.limits = limits or Limits()

    def resolve(self, path: str) -> Path:
        """The absolute path of ``path`` below the root. PostdocError("forbidden") for anything that leads out or into ``.git``."""
        raise NotImplementedError

    def read_text(self, path: str, *, max_bytes: int = 2_000_000) -> str:
        """PostdocError: not_found, forbidden, too_large, bad_message (binary)."""
        raise NotImplementedError

    def write_text(self, path: str, text: str, *, max_bytes: int = 5_000_000) -> Path:
        """Atomic: the old file or the new one, never half. Makes parent folders. PostdocError: forbidden, too_large, storage_full."""
        raise NotImplementedError

    async def execute(
        self,
        command: str | Sequence[str],
        *,
        timeout: float = 120.0,
        on_output: OnOutput | None = None,
        env: Mapping[str, str] | None = None,
        max_output: int = 1_000_000,
    ) -> Completed:
        """Run a shell script (str) or argv in the sandbox, cwd = root, no network; stdout holds both streams in order."""
        raise NotImplementedError
