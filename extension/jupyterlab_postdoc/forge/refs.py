"""Names of branches and commits that come from elsewhere: checked before git sees them."""

from __future__ import annotations

import re

from jupyterlab_postdoc.errors import PostdocError

SHA = re.compile(r"[0-9a-f]{40}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]*(/[A-Za-z0-9_][A-Za-z0-9._+=@-]*)*")


def check_branch(branch: str) -> None:
    """PostdocError ``bad_message`` for what git or a shell could take for something else than a branch."""
    wrong = not _BRANCH.fullmatch(branch) or len(branch) > 200 or ".." in branch or "@{" in branch
    if wrong or any(part.endswith((".", ".lock")) for part in branch.split("/")):
        raise PostdocError(
            "bad_message",
            f"{branch[:100]!r} cannot be a branch: use letters, digits and - . _ / (no part may begin with a sign).",
            next="Choose another name for the branch.",
        )


def check_sha(*shas: str) -> None:
    """ValueError for anything but full object names."""
    for sha in shas:
        if not SHA.fullmatch(sha):
            raise ValueError(f"not a commit: {sha[:60]!r}")


def exclude_each_other(one: str, other: str) -> bool:
    """Whether one is a directory of the other."""
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")
