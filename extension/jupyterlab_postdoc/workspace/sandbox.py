"""Where untrusted code runs: bubblewrap, or (explicitly) nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """What the probe found. ``why`` is a sentence for a person, ``install_hint`` the next step when not available."""

    name: str | None
    available: bool
    why: str
    install_hint: str = ""


class Sandbox(Protocol):
    """Wraps a command line so that it sees one workspace and nothing else of the machine."""

    name: str
    isolated: bool

    def wrap(self, argv: Sequence[str], *, root: Path, readonly: Sequence[Path] = (), network: bool = False) -> list[str]: ...
    def env(self, root: Path) -> dict[str, str]: ...


async def probe(*, refresh: bool = False) -> SandboxStatus:
    """Run a real command in the sandbox once and remember what happened."""
    raise NotImplementedError


def choose(status: SandboxStatus, *, trusted: bool, allow_unsandboxed: bool) -> Sandbox:
    """Bubblewrap when it works; without it NoSandbox for trusted code or by the administrator's leave, else PostdocError("sandbox_missing")."""
    raise NotImplementedError
