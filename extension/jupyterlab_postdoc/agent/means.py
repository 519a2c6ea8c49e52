"""With what an agent works, and on what: made once for every execution of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyterlab_postdoc.agent.limits import Limits
from jupyterlab_postdoc.agent.personas import Persona
from jupyterlab_postdoc.providers.base import Exchange, Provider
from jupyterlab_postdoc.tools.base import ToolBox
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.resources import Resources


@dataclass(frozen=True)
class Means:
    """``tools`` are those that the persona may use; ``server_tools`` those of the provider's own."""

    provider: Provider
    model: str | None
    persona: Persona
    tools: ToolBox
    limits: Limits
    resources: Resources = field(default_factory=Resources)
    server_tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mission:
    """``task`` is the input of the run and ``prompt`` the same in words; ``earlier`` is the conversation before it."""

    task: Mapping[str, Any]
    prompt: str
    system: str = ""
    project: Project | None = None
    earlier: Sequence[Exchange] = ()
