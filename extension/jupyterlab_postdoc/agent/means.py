"""With what an agent works, and on what: made once for every execution of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyterlab_postdoc.agent.limits import Limits
from jupyterlab_postdoc.agent.personas import Persona
from jupyterlab_postdoc.agent.spend import Purse
from jupyterlab_postdoc.providers.base import Exchange, Provider
from jupyterlab_postdoc.telemetry import Telemetry
from jupyterlab_postdoc.tools.base import ToolBox
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.resources import Resources

COMPACT_AT_TOKENS = 150_000
APPROVAL_HOURS = 24.0


@dataclass(frozen=True)
class Means:
    """``tools`` are those that the persona may use; ``server_tools`` those of the provider's own.

    ``purse`` is None when the provider costs nothing; ``owner`` is whose budget and whose earlier leave counts.
    ``window`` is how many tokens the model can read; ``compact_at_tokens`` is where a summary takes the place of what
    was said, if that is earlier. A request for leave that nobody answers is denied after ``approval_hours``. A reply
    that was cut off is asked for ``attempts`` times, first after ``retry_wait_s``, then after twice as long each time.
    """

    provider: Provider
    model: str | None
    persona: Persona
    tools: ToolBox
    limits: Limits
    owner: str = ""
    purse: Purse | None = None
    resources: Resources = field(default_factory=Resources)
    server_tools: tuple[str, ...] = ()
    window: int | None = None
    compact_at_tokens: int = COMPACT_AT_TOKENS
    approval_hours: float = APPROVAL_HOURS
    attempts: int = 6
    retry_wait_s: float = 1.0
    watch: Telemetry = field(default_factory=Telemetry)

    @property
    def speaks(self) -> bool:
        """Whether a model answers: it can sum up and be told things. A template's script cannot."""
        return self.provider.id != "template"


@dataclass(frozen=True)
class Mission:
    """``task`` is the input of the run and ``prompt`` the same in words; ``earlier`` is the conversation before it.

    ``through`` is the last event of that conversation. ``must_finish``: the work is done when the tool `finish` says
    so.
    """

    task: Mapping[str, Any]
    prompt: str
    system: str = ""
    project: Project | None = None
    earlier: Sequence[Exchange] = ()
    through: int = 0
    must_finish: bool = False
