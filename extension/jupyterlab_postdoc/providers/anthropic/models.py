"""The models that are known without asking, and the live list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyterlab_postdoc.providers.base import ModelInfo

if TYPE_CHECKING:
    import anthropic

ALL_EFFORT = ("low", "medium", "high", "xhigh", "max")
LINES = ("haiku", "sonnet", "opus")

BUILT_IN = tuple(
    ModelInfo(
        id=f"claude-{line}-5-5",
        label=f"Claude {line.capitalize()} 5.5",
        provider="anthropic",
        line=line,
        context=1_000_000,
        output=64_000,
        thinking=True,
        effort=() if line == "haiku" else ALL_EFFORT,
    )
    for line in LINES
)
"""In November 2026; used while the server has not said what there is."""


async def listed(client: anthropic.AsyncAnthropic) -> list[ModelInfo]:
    """The server's list, newest first. A server that knows less of its models leaves fields None."""
    found = []
    async for model in client.models.list(lifecycle=["active"]):
        found.append(_info(model))
    return found


def _info(model: Any) -> ModelInfo:
    known = next((info for info in BUILT_IN if info.id == model.id), None)
    abilities = getattr(model, "capabilities", None)
    return ModelInfo(
        id=model.id,
        label=getattr(model, "display_name", None) or model.id,
        provider="anthropic",
        line=getattr(model, "line", None) or (known.line if known else None),
        context=getattr(model, "max_input_tokens", None) or (known.context if known else None),
        output=getattr(model, "max_tokens", None) or (known.output if known else None),
        thinking=_thinks(abilities, known),
        effort=_effort(abilities, known),
    )


def _thinks(abilities: Any, known: ModelInfo | None) -> bool:
    thinking = getattr(abilities, "thinking", None)
    if thinking is None:
        return known.thinking if known else False
    adaptive = getattr(getattr(thinking, "types", None), "adaptive", None)
    return bool(getattr(thinking, "supported", False) and getattr(adaptive, "supported", True))


def _effort(abilities: Any, known: ModelInfo | None) -> tuple[str, ...]:
    effort = getattr(abilities, "effort", None)
    if effort is None:
        return known.effort if known else ()
    if not getattr(effort, "supported", False):
        return ()
    return tuple(level for level in ALL_EFFORT if getattr(getattr(effort, level, None), "supported", False))
