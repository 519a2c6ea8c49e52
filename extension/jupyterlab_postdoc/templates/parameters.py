"""Parameters of a template: coercion from text, validation, and the words that say what is allowed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_PROPERTY = {
    "type": "object",
    "required": ["title", "description", "type", "default"],
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "description": {"type": "string", "minLength": 1},
    },
}
DESCRIPTION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name", "version", "title", "summary", "plan", "parameters"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"},
        "version": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+){0,3}$"},
        "title": {"type": "string", "minLength": 1, "maxLength": 200},
        "summary": {"type": "string", "minLength": 1, "maxLength": 2000},
        "topics": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "default_for": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "plan": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        "requires": {"type": "array", "items": {"type": "string"}},
        "references": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["text"],
                "additionalProperties": False,
                "properties": {"text": {"type": "string"}, "doi": {"type": "string"}, "url": {"type": "string"}},
            },
        },
        "parameters": {
            "type": "object",
            "required": ["type", "properties"],
            "properties": {
                "type": {"const": "object"},
                "properties": {"type": "object", "additionalProperties": _PROPERTY},
            },
        },
    },
}


def description_problems(described: object) -> list[str]:
    """What is wrong with the content of `template.yaml`, one sentence each; empty when it is usable."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(DESCRIPTION_SCHEMA)
    problems = [
        f"template.yaml: {_where(error.absolute_path)}{error.message}."
        for error in sorted(validator.iter_errors(described), key=lambda error: list(map(str, error.absolute_path)))
    ]
    if problems or not isinstance(described, dict):
        return problems or ["template.yaml must be a mapping."]
    try:
        jsonschema.Draft202012Validator.check_schema(described["parameters"])
    except jsonschema.SchemaError as error:
        return [f"template.yaml: `parameters` is not a valid JSON Schema: {error.message}."]
    for name, schema in described["parameters"]["properties"].items():
        try:
            validate(schema["default"], schema)
        except ValueError as error:
            problems.append(f"template.yaml: the default of parameter `{name}` breaks its own rule: {error}.")
    return problems


def _where(path: Any) -> str:
    text = ".".join(str(part) for part in path)
    return f"`{text}`: " if text else ""


def validate(value: object, schema: Mapping[str, Any]) -> None:
    """Raise ValueError with jsonschema's complaint when `value` does not fit."""
    import jsonschema

    if isinstance(value, float) and not math.isfinite(value):  # NaN passes every bound of a JSON Schema
        raise ValueError(f"{value} is not a finite number")
    error = next(jsonschema.Draft202012Validator(dict(schema)).iter_errors(value), None)
    if error is not None:
        raise ValueError(error.message)


def types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    declared = schema.get("type", "string")
    return tuple(declared) if isinstance(declared, list) else (declared,)


def coerce(value: object, schema: Mapping[str, Any]) -> object:
    """Text from a command line or a form as the declared type; other values pass through. Raises ValueError."""
    if not isinstance(value, str):
        return value
    problems: ValueError | None = None
    for kind in types(schema):
        try:
            return _from_text(value, kind, schema)
        except ValueError as error:
            problems = error
    raise problems or ValueError("no type fits")


def _from_text(text: str, kind: str, schema: Mapping[str, Any]) -> object:
    if kind == "string":
        return text
    word = text.strip()
    if kind == "integer":
        return int(word.replace("_", ""))
    if kind == "number":
        return int(word) if word.lstrip("+-").isdigit() else float(word)
    if kind == "boolean":
        if word.casefold() in {"true", "yes", "on", "1"}:
            return True
        if word.casefold() in {"false", "no", "off", "0"}:
            return False
    elif kind == "null":
        if word.casefold() in {"", "none", "null"}:
            return None
    elif kind == "array":
        if word.startswith("["):
            return json.loads(word)
        items = schema.get("items", {})
        return [coerce(part.strip(), items) for part in word.split(",") if part.strip()]
    elif kind == "object":
        return json.loads(word)
    raise ValueError(f"{text!r} is not a {kind}")


_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list, separated by commas",
    "object": "a JSON object",
    "null": "empty",
}


def allowed(schema: Mapping[str, Any]) -> str:
    """The allowed values in words: `a whole number from 1 to 60`."""
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if schema.get("format") == "dataset":
        return 'a path to a data file, "synthetic" or "synthetic-null"'
    words = " or ".join(_WORDS.get(kind, kind) for kind in types(schema))
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    bounds = [
        f"from {low}" if low is not None else "",
        f"above {above}" if above is not None else "",
        f"to {high}" if low is not None and high is not None else f"of at most {high}" if high is not None else "",
        f"below {below}" if below is not None else "",
    ]
    text = " ".join([words, *[bound for bound in bounds if bound]])
    if low is not None and high is None:
        text = text.replace(f"from {low}", f"of at least {low}")
    if "pattern" in schema:
        text += f" matching {schema['pattern']}"
    if "maxLength" in schema:
        text += f" of at most {schema['maxLength']} characters"
    return text
