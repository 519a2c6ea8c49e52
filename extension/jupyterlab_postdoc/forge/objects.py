"""Reading many objects of a repository through one ``git cat-file --batch``, in a thread, a piece at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.git import Git

CHUNK = 1 << 20
MOST = 32 << 20

Answer = TypeVar("Answer")


class Objects:
    """One reader; for one thread at a time. PostdocError ``tool_failed`` when git is gone or an object is missing."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def pieces(self, sha: str) -> tuple[str, int, Iterator[bytes]]:
        """Kind, size in bytes, and the content in pieces of at most 1 MiB. Read all of it before the next call."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{sha}\n".encode())
            process.stdin.flush()
            head = process.stdout.readline().split()
        except (OSError, ValueError) as exc:
            raise _unreadable(sha) from exc
        if len(head) != 3:
            raise _unreadable(sha)
        size = int(head[2])
        return head[1].decode(), size, self._content(sha, size)

    def read(self, sha: str, kind: str) -> bytes:
        """The whole content of an object of that kind. PostdocError ``too_large`` above 32 MiB: none of ours is."""
        found, size, pieces = self.pieces(sha)
        if size > MOST:
            raise PostdocError("too_large", f"The {found} {sha[:12]} has {size >> 20} MB, so nothing was sent.")
        content = b"".join(pieces)
        if found != kind:
            raise _unreadable(sha)
        return content

    def _content(self, sha: str, size: int) -> Iterator[bytes]:
        assert self._process.stdout is not None
        while size:
            piece = self._process.stdout.read(min(size, CHUNK))
            if not piece:
                raise _unreadable(sha)
            size -= len(piece)
            yield piece
        self._process.stdout.read(1)  # the line end behind each object

    def kill(self) -> None:
        """End git at once; safe from another thread, and again."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()


async def reading(git: Git, bare: Path, work: Callable[[Objects], Answer]) -> Answer:
    """``work`` in a thread, with a reader of the repository; both are over when this is, however it ends."""
    argv, env = await git.prepared("cat-file", "--batch", env={"GIT_DIR": str(bare)})
    objects = Objects(argv, env, bare)
    working = asyncio.ensure_future(asyncio.to_thread(work, objects))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        objects.kill()
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()
        raise
    finally:
        objects.close()


def _unreadable(sha: str) -> PostdocError:
    return PostdocError(
        "tool_failed",
        f"git could not read the object {sha[:12]} of the repository.",
        next="Try again; if it happens again, look for a full or damaged disk.",
        retryable=True,
    )
