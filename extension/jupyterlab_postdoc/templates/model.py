"""One research template: its description, its parameters, its cells."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.templates import parameters as rules
from jupyterlab_postdoc.templates.source import (
    STUDY_CELL,
    CellSource,
    NotebookSyntaxError,
    read_cells,
    render_study,
    study_literal,
)

Origin = Literal["package", "user", "entry_point"]
FILES = ("template.yaml", "notebook.py", "script.yaml")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class TemplateError(ValueError):
    """A template folder cannot be used; the message is a sentence for a person."""


@dataclass(frozen=True)
class Template:
    """A research template as read from its folder. Only origin "package" may run without a sandbox."""

    name: str
    version: str
    title: str
    summary: str
    topics: tuple[str, ...]
    parameters: dict[str, Any]
    plan: tuple[str, ...]
    requires: tuple[str, ...]
    references: tuple[dict[str, str], ...]
    path: Path
    origin: Origin
    script: list[dict[str, Any]]
    default_for: tuple[str, ...] = ()
    sources: tuple[CellSource, ...] = field(default=(), repr=False)

    def validate_parameters(self, given: Mapping[str, object]) -> dict[str, object]:
        """`given` checked against the schema, text coerced to the declared types, defaults filled in.

        Raises PostdocError("bad_message") that names the parameter and the allowed values.
        """
        properties: dict[str, dict[str, Any]] = self.parameters.get("properties", {})
        for name in given:
            if name not in properties:
                raise self._unknown(name, properties)
        result: dict[str, object] = {}
        for name, schema in properties.items():
            if name in given:
                result[name] = self._checked(name, given[name], schema)
            elif "default" in schema:
                result[name] = schema["default"]
            elif name in self.parameters.get("required", ()):
                raise PostdocError(
                    "bad_message",
                    f"Template {self.name} needs the parameter `{name}`: {schema.get('description', '')}".strip(),
                    next=f"Give it as {name}=VALUE; allowed: {rules.allowed(schema)}.",
                )
        return result

    def _unknown(self, name: str, properties: Mapping[str, object]) -> PostdocError:
        close = difflib.get_close_matches(str(name), list(properties), n=1, cutoff=0.5)
        known = ", ".join(properties) or "none"
        hint = f"Did you mean `{close[0]}`? " if close else ""
        return PostdocError(
            "bad_message",
            f"Template {self.name} has no parameter `{name}`.",
            next=f"{hint}Its parameters are: {known}.",
        )

    def _checked(self, name: str, value: object, schema: Mapping[str, Any]) -> object:
        try:
            coerced = rules.coerce(value, schema)
            rules.validate(coerced, schema)
        except ValueError as error:
            shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
            raise PostdocError(
                "bad_message",
                f"Parameter `{name}` of template {self.name} is {shown}, but must be {rules.allowed(schema)}.",
                next=f"{schema.get('description', 'Choose an allowed value.')} The default is "
                f"{schema.get('default')!r}.",
            ) from error
        return coerced

    def cells(self, *, topic: str, parameters: Mapping[str, object], study: Mapping[str, object]) -> list[CellSource]:
        """The notebook's cells in file order; only the body of `study` differs from the file.

        The literal keeps keys of the template's own `study` cell, then takes those of `study`, then topic, template,
        version and parameters. Raises PostdocError("bad_message") when a value is not plain JSON data.
        """
        out = []
        for cell in self.sources:
            if cell.name == STUDY_CELL:
                data = {**study_literal(cell.code), **study}
                data |= {"topic": topic, "template": self.name, "version": self.version, "parameters": dict(parameters)}
                try:
                    code = render_study(data)
                except ValueError as error:
                    raise PostdocError(
                        "bad_message", str(error), next="Use text, numbers, true/false, lists and objects only."
                    ) from error
                out.append(CellSource(STUDY_CELL, code, cell.hide_code))
            else:
                out.append(cell)
        return out

    def repair(self, cell: str) -> str | None:
        """The replacement body for a cell that failed, or None when the template has none."""
        if not _IDENTIFIER.fullmatch(cell):
            return None
        path = self.path / "repairs" / f"{cell}.py"
        return path.read_text(encoding="utf-8").strip("\n") if path.is_file() else None

    def summary_dict(self) -> dict[str, Any]:
        """What REST and the command line show of a template; plain JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "version": self.version,
            "parameters": self.parameters,
            "topics": list(self.topics),
            "plan": list(self.plan),
            "origin": self.origin,
            "references": [dict(reference) for reference in self.references],
        }


def read_yaml(path: Path) -> Any:
    """The content of a small YAML file. Raises TemplateError with the file's name and the reader's complaint."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TemplateError(f"{path.name} is missing.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path.name} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise TemplateError(f"{path.name} is not valid YAML: {text}.") from error


def load(path: Path, origin: Origin) -> Template:
    """Read one template folder. Raises TemplateError with the first thing that makes it unusable."""
    described = read_yaml(path / "template.yaml")
    problems = rules.description_problems(described)
    if problems:
        raise TemplateError(problems[0])
    script = read_yaml(path / "script.yaml")
    turns = script.get("turns") if isinstance(script, dict) else None
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise TemplateError("script.yaml needs `turns`: a list with at least one turn.")
    try:
        sources = read_cells(path / "notebook.py")
        study = next((cell for cell in sources if cell.name == STUDY_CELL), None)
        if study is None:
            raise TemplateError("notebook.py has no cell named `study`.")
        study_literal(study.code)
    except NotebookSyntaxError as error:
        raise TemplateError(str(error)) from error
    except OSError as error:
        raise TemplateError(f"notebook.py cannot be read: {error.strerror or error}.") from error
    return Template(
        name=described["name"],
        version=described["version"],
        title=described["title"],
        summary=described["summary"],
        topics=tuple(described.get("topics", ())),
        parameters=described["parameters"],
        plan=tuple(described["plan"]),
        requires=tuple(described.get("requires", ())),
        references=tuple(described.get("references", ())),
        path=path,
        origin=origin,
        script=turns,
        default_for=tuple(described.get("default_for", ())),
        sources=sources,
    )
