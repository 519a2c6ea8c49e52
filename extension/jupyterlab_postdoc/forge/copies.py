"""The server's own bare repositories, one for each remote: where they are, and that they are nothing else's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets as random
import shutil
import time
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.names import disk_errors
from jupyterlab_postdoc.workspace.git import Git

ABANDONED_S = 600.0

_KEY = re.compile(r"[a-z0-9][a-z0-9.:-]*(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]{1,100}){2}")
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"


class Copies:
    """``<root>/<host>/<owner>/<name>.git``; only this user can read them."""

    def __init__(self, root: Path, git: Git) -> None:
        self._root = root
        self._git = git

    async def of(self, key: str) -> Path:
        """The repository for ``host/owner/name``, made when it is missing. ValueError for any other key.

        Its configuration is ours at every use: what somebody wrote there would decide where a token goes.
        """
        if not _KEY.fullmatch(key) or key.lower().endswith((".git", ".lock")):
            raise ValueError(f"not a repository's key: {key[:100]!r}")
        bare = self._root / f"{key.lower()}.git"
        with disk_errors(self._root):
            if not (bare / "HEAD").is_file():
                await self._create(bare)
            await asyncio.to_thread(_settle, bare / "config")
        return bare

    async def _create(self, bare: Path) -> None:
        """Build aside and rename, so that a repository exists whole or not at all."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root.chmod(0o700)
        await asyncio.to_thread(self._sweep)
        fresh = self._root / f".new-{random.token_hex(8)}"
        fresh.mkdir(mode=0o700)
        try:
            argv = ("init", "--quiet", "--bare", "--template=", "--initial-branch=main")
            await self._git.run(*argv, cwd=fresh, env={"GIT_DIR": str(fresh)})
            bare.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError, OSError):  # somebody was faster: theirs is as good
                fresh.rename(bare)
        finally:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        if not (bare / "HEAD").is_file():
            raise PostdocError(
                "forbidden",
                f"The server's copy of {bare.stem!r} could not be made: something else is in its place.",
                next="Look into the directory `publish` of the server's data directory.",
            )

    def _sweep(self) -> None:
        """Remove what killed servers left half made."""
        for old in self._root.glob(".new-*"):
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(old, ignore_errors=True)


def _settle(config: Path) -> None:
    """Make the file what it must be, complete or not at all."""
    with contextlib.suppress(OSError):
        if not config.is_symlink() and config.read_text(encoding="utf-8", errors="replace") == _CONFIG:
            return
    fresh = config.with_name(f".config-{random.token_hex(8)}")
    with fresh.open("x", encoding="utf-8") as file:
        file.write(_CONFIG)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(config)
