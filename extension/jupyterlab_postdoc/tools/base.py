"""What a tool is: an async function with type hints and a docstring, which its schema and its checks are made from."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol, get_type_hints

import msgspec

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Body, ImageRef
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.secrets import redact
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.resources import Resources

MAX_RESULT = 30_000

Risk = Literal["read", "write", "execute", "outside"]


class Emit(Protocol):
    """Appends events to the log of the running session."""

    def __call__(self, *bodies: Body) -> Awaitable[object]: ...


class Ask(Protocol):
    """Asks the researcher and waits. The same ``key`` in a run is the same question, which is answered once; without
    one it is the call's only question.
    """

    def __call__(self, question: str, options: list[str] | None, key: str = "", /) -> Awaitable[str]: ...


@dataclass(frozen=True)
class ToolContext:
    """All that a tool may touch. It holds no session, so that tools and sessions do not know each other."""

    call_id: str
    session: str
    emit: Emit
    status: Callable[[str, float | None], Awaitable[None]]
    output: Callable[[str], Awaitable[None]]
    ask: Ask
    provider: str
    resources: Resources
    put_blob: Callable[[bytes, str], Awaitable[str]]
    """Keeps bytes of a media type beside the log; their hash."""
    delegate: Callable[[str], Awaitable[ToolOutcome]]
    """Gives a reading task to a sub-agent; its summary."""
    in_project: Project | None = None

    @property
    def project(self) -> Project:
        """The project of this session; raises tool_failed in a chat that has none."""
        if self.in_project is None:
            raise PostdocError(
                "tool_failed",
                "There is no project in this chat yet.",
                next="This tool works in a research session.",
            )
        return self.in_project

    async def image(self, data: bytes, title: str = "", media_type: str = "image/png") -> ImageRef:
        """Keep a picture for the model and the reader, to be named in an outcome's ``images``."""
        return ImageRef(blob=await self.put_blob(data, media_type), mediaType=media_type, title=title)


class ToolFunction(Protocol):
    """The shape of a tool: the context, then its own named arguments."""

    __name__: str

    def __call__(self, ctx: ToolContext, /, **arguments: Any) -> Awaitable[ToolOutcome]: ...


Reconcile = Callable[[ToolContext, dict[str, Any]], Awaitable[ToolOutcome | None]]


@dataclass(frozen=True)
class Tool:
    """A tool as the loop sees it.

    ``reconcile`` looks whether a call that was cut off by a crash has already had its effect: it returns the outcome,
    or None when the call may be made again.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    risk: Risk
    title: Callable[[Mapping[str, Any]], str]
    arguments: type[msgspec.Struct]
    function: ToolFunction
    reconcile: Reconcile | None = field(default=None)
    needs_project: bool = True

    def spec(self) -> dict[str, Any]:
        """What a model is told of this tool."""
        return {"name": self.name, "description": self.description, "input_schema": self.parameters}

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The checked arguments; raises tool_failed with a sentence that names the wrong one."""
        try:
            parsed = msgspec.convert(dict(given), self.arguments, strict=True)
        except msgspec.ValidationError as e:
            raise PostdocError("tool_failed", f"{self.name}: the input is not right: {e}.") from e
        return {name: getattr(parsed, name) for name in self.arguments.__struct_fields__}

    async def call(self, ctx: ToolContext, given: Mapping[str, Any]) -> ToolOutcome:
        """Run the tool; what it cannot do becomes an outcome that the model reads, not an exception.

        A full disk is nothing that a model can mend: it ends the run, which can be resumed when there is space again.
        """
        try:
            outcome = await self.function(ctx, **self.parse(given))
            return outcome if len(outcome.content) <= MAX_RESULT else await _clipped(ctx, outcome)
        except PostdocError as e:
            if e.code == "storage_full":
                raise
            return ToolOutcome(False, f"{e.message} {e.next}".strip(), {"code": e.code, **e.details})


async def _clipped(ctx: ToolContext, outcome: ToolOutcome) -> ToolOutcome:
    """The outcome with its text cut to head and tail, the whole kept as a blob: it is too long for an event."""
    text = redact(outcome.content)
    half = MAX_RESULT // 2
    left_out = len(text) - 2 * half
    short = f"{text[:half]}\n… {left_out} characters left out …\n{text[-half:]}"
    blob = await ctx.put_blob(text.encode("utf-8", "replace"), "text/plain; charset=utf-8")
    return msgspec.structs.replace(outcome, content=short, data={**outcome.data, "truncated": True}, blob=blob)


def tool(
    *,
    risk: Risk,
    title: Callable[[Mapping[str, Any]], str] | str,
    reconcile: Reconcile | None = None,
    needs_project: bool = True,
) -> Callable[[Callable[..., Awaitable[ToolOutcome]]], Tool]:
    """Make a :class:`Tool` of a function: name, docstring and hints are all a model is told."""

    def make(function: Callable[..., Awaitable[ToolOutcome]]) -> Tool:
        hints = get_type_hints(function, include_extras=True)
        fields: list[Any] = []
        for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
            if parameter.default is parameter.empty:
                fields.append((name, hints[name]))
            else:
                fields.append((name, hints[name], parameter.default))
        arguments = msgspec.defstruct(f"{function.__name__}_input", fields, kw_only=True, forbid_unknown_fields=True)
        _, components = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
        schema = components.pop(arguments.__name__)
        schema.pop("title", None)
        if components:
            schema["$defs"] = components
        return Tool(
            name=function.__name__,
            description=inspect.cleandoc(function.__doc__ or ""),
            parameters=schema,
            risk=risk,
            title=title if callable(title) else lambda _: str(title),
            arguments=arguments,
            function=function,
            reconcile=reconcile,
            needs_project=needs_project,
        )

    return make


class ToolBox:
    """The tools that one persona may use, by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def get(self, name: str) -> Tool | None:
        """The tool of this name, or None."""
        return self._tools.get(name)

    def only(self, patterns: Iterable[str] | None) -> ToolBox:
        """The tools whose names fit one of these patterns, as in a shell (all of them for None), in our order."""
        if patterns is None:
            return self
        wanted = list(patterns)
        return ToolBox(t for name, t in self._tools.items() if any(fnmatchcase(name, p) for p in wanted))

    def where(self, keep: Callable[[Tool], bool]) -> ToolBox:
        """The tools for which ``keep`` is true."""
        return ToolBox(tool for tool in self._tools.values() if keep(tool))

    def plus(self, tools: Iterable[Tool]) -> ToolBox:
        """These tools too; a name that is taken keeps its tool."""
        return ToolBox([*tools, *self._tools.values()])

    def specs(self) -> list[dict[str, Any]]:
        """What the model is told of all tools."""
        return [tool.spec() for tool in self._tools.values()]

    def names(self) -> list[str]:
        """The names, in order."""
        return list(self._tools)
