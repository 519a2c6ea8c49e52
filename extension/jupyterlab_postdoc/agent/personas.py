"""Personas: who the agent is in a chat. Read from ``personas.yaml`` here and from the user's file of the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from jupyterlab_postdoc.errors import PostdocError, not_found

BUILT_IN = Path(__file__).parent / "personas.yaml"


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the file."""

    title: Annotated[str, Meta(min_length=1, max_length=100)]
    system_prompt: str
    tools: list[str] | None = None
    model: str | None = None
    default: bool = False


class Persona(Struct, frozen=True):
    """A persona by its name; ``tools`` None means all tools."""

    name: str
    title: str
    system_prompt: str
    tools: list[str] | None
    model: str | None
    default: bool

    def describe(self) -> dict[str, Any]:
        """What people choose from. The prompt stays on the server."""
        return {
            "name": self.name,
            "title": self.title,
            "tools": self.tools,
            "model": self.model,
            "default": self.default,
        }


class Personas:
    """All personas. The user's file is read again whenever they are asked for, so that an edit needs no restart."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    def list(self) -> list[Persona]:
        """All of them, the built-in ones first. Raises bad_message when the user's file is not of the right form."""
        entries = _read(BUILT_IN)
        if self._file is not None:
            entries |= _read(self._file)
        return [Persona(name, e.title, e.system_prompt, e.tools, e.model, e.default) for name, e in entries.items()]

    def get(self, name: str | None) -> Persona:
        """The persona of this name, or the default one for None; raises not_found."""
        personas = self.list()
        if name is None:
            return next((persona for persona in personas if persona.default), personas[0])
        for persona in personas:
            if persona.name == name:
                return persona
        raise not_found("persona", name)


def _read(path: Path) -> dict[str, Entry]:
    import yaml

    hint = "Correct the file; PostdocApp.personas_file names it."
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(raw or {}, dict[str, Entry])
    except OSError as e:
        raise PostdocError("bad_message", f"The personas file cannot be read: {e.strerror}.", next=hint) from e
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as e:
        raise PostdocError("bad_message", f"The personas file {path.name} is not right: {e}.", next=hint) from e
