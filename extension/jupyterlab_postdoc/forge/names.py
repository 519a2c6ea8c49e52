"""Names of research repositories and the directory that each run owns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path


def slugify_topic(topic: str, maxlen: int = 80) -> str:
    """A legal repository name for any topic in any language."""
    raise NotImplementedError


def check_repo_name(name: str) -> None:
    """PostdocError ``bad_message`` with a proposal when a given name is not legal."""
    raise NotImplementedError


def next_free(name: str, exists: Callable[[str], bool], *, session: str = "") -> str:
    """``name`` if free, else ``name-2`` … ``name-9``, else ``name-<sid6>``."""
    raise NotImplementedError


async def claim_directory(
    research_root: Path,
    *,
    topic: str,
    repo_name: str | None,
    run_id: str,
    session_id: str,
    taken: Callable[[str], Awaitable[bool]] | None = None,
) -> Path:
    """The run's own directory below ``research_root``: made now, or found again after a crash.

    ``taken`` says whether a name is used elsewhere by another run (``lambda n: forge.is_taken(n, run=run_id)``).
    """
    raise NotImplementedError
