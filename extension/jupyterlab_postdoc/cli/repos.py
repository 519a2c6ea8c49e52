"""`jupyter postdoc repos`: repositories to work in, instead of a new one for each study."""

from __future__ import annotations

import argparse
from typing import Any

from .client import Rest, new_id, segment
from .names import me
from .output import dump, rows
from .problems import DONE, usage
from .screen import Screen
from .server import Source
from .text import one_line, when

Frame = dict[str, Any]
WORDS = "owner/name or a git address"


async def repos(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """List, choose from GitHub, register, show or remove repositories."""
    if args.action in {"add", "show", "remove"} and not args.repository:
        what = WORDS if args.action == "add" else "the name or id of a repository"
        raise usage(f"`repos {args.action}` needs {what}.", f"{me()} repos lists what is registered.")
    await source.get()
    rest = Rest(source)
    if args.action == "list":
        return _list(args, screen, await rest("GET", "api/repos"))
    if args.action == "available":
        found = await rest("GET", "api/repos/available", query=args.repository or "")
        return _available(args, screen, found)
    if args.action == "add":
        return _added(args, screen, await rest("POST", "api/repos", {"repository": args.repository}, key=new_id()))
    repo = await _known(rest, args.repository)
    if args.action == "remove":
        await rest("DELETE", f"api/repos/{segment(repo['id'])}")
        if args.json:
            dump(screen, {"removed": repo["id"]})
        else:
            screen.line(f"{one_line(repo['name'])} is not registered any more. Nothing else was deleted:")
            screen.line("the repository stays as it is, and sessions that work in it go on.", indent="  ")
        return DONE
    if args.json:
        dump(screen, repo)
    else:
        _show(screen, repo)
    return DONE


async def _known(rest: Rest, word: str) -> Frame:
    found: list[Frame] = await rest("GET", "api/repos")
    for repo in found:
        if (
            repo["id"] == word
            or str(repo["name"]).casefold() == word.casefold()
            or word in (repo["url"], repo["webUrl"])
        ):
            return repo
    raise usage(f"There is no registered repository {one_line(word, 80)!r}.", f"{me()} repos lists them.")


def _list(args: argparse.Namespace, screen: Screen, found: list[Frame]) -> int:
    if args.json:
        dump(screen, found)
    elif not found:
        screen.line(f"No repository is registered yet. {me()} repos add OWNER/NAME registers one,")
        screen.line(f"{me()} repos available lists those of your GitHub account.")
    else:
        lines = [
            [one_line(r["name"]), _where(r), one_line(r["defaultBranch"]), _seen(r), str(r["sessions"])] for r in found
        ]
        rows(screen, ["REPOSITORY", "AT", "BRANCH", "SEEN BY", "SESSIONS"], lines)
    return DONE


def _available(args: argparse.Namespace, screen: Screen, found: list[Frame]) -> int:
    if args.json:
        dump(screen, found)
    elif not found:
        screen.line("Your GitHub account may push to no repository of that name.")
    else:
        lines = [
            [
                one_line(r["name"]),
                _seen(r),
                when(r["pushedAt"]) if r.get("pushedAt") else "never",
                "yes" if r.get("registered") else "",
                one_line(r.get("description"), 60),
            ]
            for r in found
        ]
        rows(screen, ["REPOSITORY", "SEEN BY", "PUSHED", "REGISTERED", "ABOUT"], lines)
    return DONE


def _added(args: argparse.Namespace, screen: Screen, repo: Frame) -> int:
    if args.json:
        dump(screen, repo)
        return DONE
    screen.line(f"Registered {one_line(repo['name'])} ({_where(repo)}, branch {one_line(repo['defaultBranch'])}).")
    if repo.get("mayPush") is False or repo.get("archived"):
        why = "it is archived" if repo.get("archived") else "your account may only read it"
        screen.line(f"Work in it cannot be pushed there: {why}.", "yellow")
    screen.line(f'Work in it: {me()} research "…" --repo {one_line(repo["name"])}', "dim")
    return DONE


def _show(screen: Screen, repo: Frame) -> None:
    screen.line(one_line(repo["name"]), "bold")
    about = {
        "id": repo["id"],
        "address": repo["url"],
        "page": repo.get("webUrl") or "",
        "branch": repo["defaultBranch"],
        "seen by": _seen(repo),
        "registered": when(repo["createdAt"]),
        "sessions": str(repo["sessions"]),
    }
    for name, value in about.items():
        if value:
            screen.line(f"{name:<11} {one_line(value)}")


def _where(repo: Frame) -> str:
    return one_line(repo.get("host") or "this machine")


def _seen(repo: Frame) -> str:
    return "its members" if repo.get("private") else "everybody"
