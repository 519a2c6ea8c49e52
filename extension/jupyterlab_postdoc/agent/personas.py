"""Personas: who the agent is in a chat. Read from ``personas.yaml`` here and from the user's file of the same form."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct

from jupyterlab_postdoc.errors import PostdocError

BUILT_IN = Path(__file__).parent / "personas.yaml"
HINT = "Correct the file; PostdocApp.personas_file names it."

Effort = Literal["low", "medium", "high", "xhigh", "max"]
Policy = Literal["auto", "ask", "never"]
Pattern = Annotated[str, Meta(min_length=1, max_length=200)]

DEFAULT_POLICY: Mapping[str, Policy] = {"read": "auto", "write": "auto", "execute": "auto", "outside": "ask"}
"""By risk. What is done in the sandbox is undone with git; what leaves the machine is not."""


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the file."""

    title: Annotated[str, Meta(min_length=1, max_length=100)]
    system_prompt: Annotated[str, Meta(max_length=100_000)]
    tools: list[Pattern] | None = None
    model: str | None = None
    default: bool = False
    effort: Effort | None = None
    thinking: bool = True
    approvals: dict[Pattern, Policy] = {}


class Persona(Entry, frozen=True, kw_only=True):
    """A persona by its name; ``tools`` None means all tools, else names or patterns as in a shell (``nb_*``).

    ``approvals`` says for a risk, a tool or a pattern of tools whether it is used at once, asked for, or never used.
    """

    name: str

    def describe(self) -> dict[str, Any]:
        """What people choose from. The prompt stays on the server."""
        return {
            "name": self.name,
            "title": self.title,
            "tools": self.tools,
            "model": self.model,
            "default": self.default,
            "effort": self.effort,
            "thinking": self.thinking,
            "approvals": self.approvals,
        }

    def allows(self, name: str) -> bool:
        """Whether this persona may be shown the tool of this name: it is in ``tools`` and not ruled out for good."""
        if self.tools is not None and not any(fnmatchcase(name, pattern) for pattern in self.tools):
            return False
        return self._named(name) != "never"

    def policy(self, name: str, risk: str) -> Policy:
        """What the most specific rule says of this tool: its name, then the longest pattern, then its risk."""
        named = self._named(name)
        if named is not None:
            return named
        return self.approvals.get(risk) or DEFAULT_POLICY.get(risk, "ask")

    def _named(self, name: str) -> Policy | None:
        fitting = [key for key in self.approvals if key not in DEFAULT_POLICY and fnmatchcase(name, key)]
        if not fitting:
            return None
        return self.approvals[max(fitting, key=lambda key: (key == name, len(key.replace("*", "").replace("?", ""))))]


class Personas:
    """All personas. The user's file is read again when it has changed, so that an edit needs no restart."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._read: dict[Path, tuple[tuple[int, int], dict[str, Persona]]] = {}

    def list(self) -> list[Persona]:
        """All of them, the built-in ones first. Raises bad_message when the user's file is not of the right form."""
        found = self._of(BUILT_IN)
        if self._file is not None:
            found = found | self._of(self._file)
        return [*found.values()]

    def get(self, name: str | None) -> Persona:
        """The persona of this name, or the default one for None; raises not_found.

        The user's file may name another default: the last one counts.
        """
        personas = self.list()
        if name is None:
            return next((persona for persona in reversed(personas) if persona.default), personas[0])
        for persona in personas:
            if persona.name == name:
                return persona
        names = ", ".join(persona.name for persona in personas)
        raise PostdocError("not_found", f"There is no persona {name[:80]!r}.", next=f"There are: {names}.")

    def _of(self, path: Path) -> dict[str, Persona]:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if path not in self._read or self._read[path][0] != stamp:
                self._read[path] = (stamp, _parsed(path))
        except OSError as e:
            raise PostdocError("bad_message", f"The personas file cannot be read: {e.strerror}.", next=HINT) from e
        return self._read[path][1]


def _parsed(path: Path) -> dict[str, Persona]:
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as e:
        where = f" (line {e.problem_mark.line + 1})" if e.problem_mark else ""
        raise _wrong(path, f"{e.problem or 'it is not YAML'}{where}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise _wrong(path, "it is not a YAML text file in UTF-8") from e
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise _wrong(path, "it must hold one entry per persona, each with its name, a colon and its fields")
    return {str(name): _persona(path, name, entry) for name, entry in raw.items()}


def _persona(path: Path, name: object, entry: object) -> Persona:
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        raise _wrong(path, f"{str(name)[:50]!r} is not a name of a persona; put it in quotation marks")
    if not isinstance(entry, dict):
        raise _wrong(path, f"the persona {name!r} needs at least a title and a system_prompt")
    if "name" in entry:
        raise _wrong(path, f"the persona {name!r} has a field `name`; its name is what stands before the colon")
    try:
        return msgspec.convert({**cast(dict[str, Any], entry), "name": name}, Persona)
    except msgspec.ValidationError as e:
        raise _wrong(path, f"in the persona {name!r}: {e}") from e


def _wrong(path: Path, why: str) -> PostdocError:
    return PostdocError("bad_message", f"The personas file {path.name} is not right: {why}.", next=HINT)
