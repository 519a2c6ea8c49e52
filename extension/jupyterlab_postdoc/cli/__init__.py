"""`jupyter postdoc …`: a thin client of a running server, which it starts for its own duration when none runs.

It speaks HTTP and WebSocket only and imports nothing of the server, `templates check` and `templates new` excepted,
which work on files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .problems import DONE, FAILED, USAGE, Problem

if TYPE_CHECKING:
    from .screen import Screen


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from .parser import build

    parser = build()
    args = parser.parse_args(argv)
    if args.version:
        from jupyterlab_postdoc import __version__

        print(__version__)
        return DONE
    if args.command is None:
        parser.print_help()
        return USAGE
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return _run(args)
    except Problem as problem:
        _explain(problem, as_json=args.json)
        return problem.exit_code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of our output is gone (`… | head`): what cannot be said need not be flushed at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(args: argparse.Namespace) -> int:
    from .screen import Screen

    screen = Screen()
    if args.command == "templates" and args.action in {"check", "new"}:
        from . import templates

        return templates.check(args, screen) if args.action == "check" else templates.new(args, screen)
    import asyncio

    try:
        return asyncio.run(_with_server(args, screen))
    finally:
        screen.close()


async def _with_server(args: argparse.Namespace, screen: Screen) -> int:
    from . import answers, chat, commands, github, models, notebook, publish, pull, repos, research, templates
    from .server import Source, Wish

    source = Source(Wish(args.url, args.token, args.root, start=not args.no_start))
    run = {
        "research": research.research,
        "resume": research.resume,
        "templates": templates.listed,
        "chats": commands.chats,
        "watch": commands.watch,
        "chat": chat.chat,
        "send": commands.send,
        "stop": commands.stop,
        "respond": answers.respond,
        "post": commands.post,
        "rooms": commands.rooms,
        "requests": answers.requests,
        "repos": repos.repos,
        "models": models.models,
        "github": github.github,
        "notebook": notebook.notebook,
        "publish": publish.publish,
        "pr": pull.pull,
        "status": commands.status,
    }[args.command]
    try:
        return await run(args, source, screen)
    except Problem as problem:
        if problem.code == "internal" and source.own is not None:
            source.own.keep_log = True
            problem.next = f"The server's log is {source.own.log}. {problem.next}".strip()
        raise
    finally:
        await source.close()


def _explain(problem: Problem, *, as_json: bool) -> None:
    from .text import clean

    if as_json:
        print(json.dumps(problem.as_dict(), ensure_ascii=False), file=sys.stderr)
        return
    print(f"jupyter postdoc: {clean(problem.message)}", file=sys.stderr)
    if problem.next:
        print(f"  {clean(problem.next)}", file=sys.stderr)
