"""`jupyter postdoc models`: what a chat may be driven by, and what it costs."""

from __future__ import annotations

import argparse
from typing import Any

from .client import Rest
from .output import dump, rows
from .problems import DONE
from .screen import Screen
from .server import Source
from .text import clean, one_line

Frame = dict[str, Any]


async def models(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """List the models, those that may be used first."""
    await source.get()
    found = await Rest(source)("GET", "api/models")
    if args.json:
        dump(screen, found)
        return DONE
    real = [model for model in found if "chat" in (model.get("kinds") or [])]
    usable = [model for model in real if model.get("available")]
    if usable:
        head = ["MODEL", "SHORT", "CONTEXT", "IN", "OUT", "WHAT"]
        rows(screen, head, [_row(model) for model in _short(usable)])
        screen.line()
        screen.line("IN and OUT: US dollars per million tokens. * is the default.", "dim")
    for reason, names in _reasons(real).items():
        screen.line(f"Not available: {', '.join(names)}", "yellow")
        for sentence in reason:
            screen.line(clean(sentence), indent="  ")
    if not real:
        health = await Rest(source)("GET", "api/health")
        part = health.get("parts", {}).get("provider", {})
        screen.line(clean(part.get("message") or "No AI model is configured on this server."))
        screen.line(clean(part.get("next") or ""), indent="  ")
    if any(model.get("id") == "template" for model in found):
        screen.line("Research also runs without a model: research TOPIC --provider template.", "dim")
    return DONE


def _short(found: list[Frame]) -> list[Frame]:
    """With the short name of each model that has one: it means the newest of its line."""
    taken: set[str] = set()
    named = []
    for model in found:
        line = model.get("line")
        named.append(model | {"short": line if line and line not in taken else ""})
        taken.add(str(line))
    return named


def _row(model: Frame) -> list[str]:
    price = model.get("prices") or {}
    star = "*" if model.get("default") else ""
    return [
        one_line(model.get("id")) + star,
        one_line(model.get("short") or "-"),
        _tokens(model.get("context")),
        _price(price.get("input")),
        _price(price.get("output")),
        one_line(model.get("label")),
    ]


def _tokens(count: object) -> str:
    if not isinstance(count, int):
        return "?"
    return f"{count / 1e6:g}M" if count >= 1_000_000 else f"{count // 1000}k"


def _price(usd: object) -> str:
    return f"${usd:g}" if isinstance(usd, int | float) else "?"


def _reasons(found: list[Frame]) -> dict[tuple[str, ...], list[str]]:
    """The models that may not be used, by why not and what to do."""
    reasons: dict[tuple[str, ...], list[str]] = {}
    for model in found:
        if not model.get("available"):
            # A sentence that names the model is the same for all of them otherwise.
            why = str(model.get("reason") or "").replace(f"the model {model.get('id')}", "these models")
            why = why.replace(f"The model {model.get('id')} is", "These models are")
            parts = tuple(part for part in (why, str(model.get("next") or "")) if part)
            reasons.setdefault(parts, []).append(one_line(model.get("id")))
    return reasons
