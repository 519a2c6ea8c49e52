"""What is sent to a remote for a tip of the study: all of its history, or another one made from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.guard import present
from jupyterlab_postdoc.forge.objects import Objects, reading
from jupyterlab_postdoc.forge.rewrite import Rewriter, pack
from jupyterlab_postdoc.workspace.git import Git


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent in place of the checkout's history: its first commit (or the remote's one that it goes on from),
    its tip, and how many commits lie between them (the tip included).
    """

    base: str
    tip: str
    commits: int


async def prepare(
    git: Git,
    bare: Path,
    tip: str,
    *,
    first: str,
    base: str | None,
    history: Literal["full", "squashed"],
    workflows: bool,
    message: str,
) -> Outgoing:
    """See :meth:`~jupyterlab_postdoc.forge.publisher.Publisher.prepare`. ``first`` is ``base``, or the root commit."""
    env = {"GIT_DIR": str(bare)}

    async def listed(*argv: str) -> list[str]:
        return (await git.run("rev-list", *argv, cwd=bare, env=env, timeout_s=300.0)).text.split()

    if history == "squashed" and base and await listed("--max-count=1", base, f"^{tip}"):
        raise PostdocError(
            "push_rejected",
            "The study does not go on from the remote's newest state: as one commit it would undo others' work.",
            next="Merge the remote's branch in the checkout, or send the full history.",
            reason="other",
        )
    start, end = first, tip
    if history == "squashed" or not workflows:
        limit = [f"^{base}"] if base else []
        commits = [] if workflows else await listed("--reverse", "--topo-order", tip, *limit)

        def work(objects: Objects) -> tuple[str, str, bytes]:
            rewriter = Rewriter(objects)
            sent = rewriter.history(commits, base)
            start, end = sent.get(first, first), sent.get(tip, tip)
            if history == "squashed" and start != end:
                same = rewriter.tree_of(start) == rewriter.tree_of(end)
                end = start if same else rewriter.single(start, end, message)
            return start, end, pack(rewriter.made) if rewriter.made else b""

        start, end, made = await reading(git, bare, work)
        if made and set(await present(git, bare, (start, end))) != {start, end}:
            await git.run("index-pack", "--stdin", cwd=bare, env=env, stdin=made, timeout_s=300.0)
    return Outgoing(start, end, len(await listed(end, f"^{start}")))
