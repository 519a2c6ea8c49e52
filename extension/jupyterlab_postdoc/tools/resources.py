"""What tools use that belongs to the server and not to one project: kernels, the way to the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from jupyterlab_postdoc.templates import TemplateRegistry
from jupyterlab_postdoc.workspace.fetch import Fetcher


class Kernels(Protocol):
    """Jupyter kernels of sessions, for the tool py_exec."""

    async def shutdown_all(self) -> None:
        """End every kernel that was started for a session."""
        ...


@dataclass(frozen=True)
class Resources:
    """Each is None where the server does not offer it."""

    kernels: Any = None
    fetch: Fetcher | None = None
    templates: TemplateRegistry | None = None
