"""The forge that needs no network and no account: bare repositories below the data directory."""

from __future__ import annotations

from pathlib import Path

from jupyterlab_postdoc.forge.base import Comparison, PushResult, RemoteRepo
from jupyterlab_postdoc.workspace.git import Git


class LocalForge:
    """Bare repositories ``<data_dir>/repos/local/<name>.git``."""

    name = "local"

    def __init__(self, data_dir: Path, git: Git | None = None) -> None:
        raise NotImplementedError

    async def create_repo(self, name: str, *, session: str, run: str) -> RemoteRepo:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        raise NotImplementedError

    async def get_repo(self, name: str) -> RemoteRepo | None:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        raise NotImplementedError

    async def is_taken(self, name: str, *, run: str) -> bool:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        raise NotImplementedError

    async def push(self, root: Path, repo: RemoteRepo, branch: str = "main") -> PushResult:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`. Also sets the checkout's `origin`."""
        raise NotImplementedError

    async def compare(self, repo: RemoteRepo, base: str, head: str) -> Comparison:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        raise NotImplementedError
