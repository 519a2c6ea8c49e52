"""Starts programs so that all of their processes end when they should: at the end, at a timeout, at a stop, at the server's death.

Every program runs below a small supervisor (supervisor.py), which owns the process tree and watches a socket to this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

End = Literal["exit", "timeout", "stopped", "memory", "processes"]
OnOutput = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a program. ``memory_bytes`` is both the address space of each process and the resident sum of all of them."""

    memory_bytes: int | None = 4 << 30
    file_bytes: int | None = 2 << 30
    open_files: int | None = 4096
    processes: int = 512


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended. Texts hold at most ``max_output`` characters each, head and tail; ``truncated`` counts the bytes left out."""

    returncode: int
    stdout: str
    stderr: str
    duration_s: float
    end: End = "exit"
    truncated: int = 0

    @property
    def timed_out(self) -> bool:
        return self.end == "timeout"


class Process:
    """A running program and everything it started. ``pid`` is the supervisor's."""

    pid: int
    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    async def wait(self) -> int:
        """The exit code; negative is a signal. When it returns, the whole tree is gone."""
        raise NotImplementedError

    async def kill(self, grace_s: float = 0.5) -> None:
        """SIGTERM to the program, after ``grace_s`` SIGKILL to the whole tree. Returns when all of it is gone."""
        raise NotImplementedError


async def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    limits: Limits | None = None,
    stdin: bool = False,
    merge: bool = False,
) -> Process:
    """Start ``argv`` with exactly ``env``. Raises PostdocError("tool_failed") when the program cannot be started."""
    raise NotImplementedError


async def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    limits: Limits | None = None,
    on_output: OnOutput | None = None,
    max_output: int = 1_000_000,
    input: bytes | None = None,
    merge: bool = False,
) -> Completed:
    """Run ``argv`` to its end; a cancelled task or a timeout takes the whole tree with it."""
    raise NotImplementedError
