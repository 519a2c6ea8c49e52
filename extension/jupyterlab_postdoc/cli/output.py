"""What several commands print in the same way."""

from __future__ import annotations

import argparse
import json

from .screen import Screen
from .text import table


def dump(screen: Screen, value: object) -> None:
    """`value` as JSON on standard output."""
    screen.raw(json.dumps(value, ensure_ascii=False, indent=2))


def rows(screen: Screen, head: list[str], body: list[list[str]]) -> None:
    """A table with a heading."""
    head_line, *lines = table([head, *body], screen.width)
    screen.line(head_line, "dim")
    for line in lines:
        screen.line(line)


def acknowledged(args: argparse.Namespace, screen: Screen, ack: object, sentence: str) -> None:
    """The server's ack with `--json`, else a sentence."""
    if args.json:
        screen.raw(json.dumps(ack, ensure_ascii=False))
    else:
        screen.line(sentence)
