"""`jupyter postdoc pr`: where a session is published, how its pull request is, and what people wrote there."""

from __future__ import annotations

import argparse
from typing import Any

from .client import Rest, segment
from .names import me
from .output import acknowledged, dump
from .problems import DONE, FAILED, Problem, usage
from .screen import Screen
from .server import Source
from .text import clean, one_line, when

Frame = dict[str, Any]
MAX_LINES = 40
_CHECKS = {"pending": "running", "passed": "passed", "failed": "FAILED"}
_REVIEW = {"commented": "commented", "changes_requested": "changes requested", "approved": "approved"}


async def pull(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Show the publication; with --comments what people wrote; with --hand give some of it to the agent."""
    if args.hand and args.hand_all:
        raise usage("--hand names comments, --hand-all means all new ones: give one of them.")
    if args.note and not (args.hand or args.hand_all):
        raise usage("--note is said with the comments that --hand or --hand-all hand over.")
    await source.get()
    rest, address = Rest(source), f"api/chats/{segment(args.chat)}/publication"
    if args.hand or args.hand_all:
        return await _hand(args, rest, address, screen)
    found = await (rest("POST", f"{address}/refresh") if args.refresh else rest("GET", address))
    comments = await rest("GET", f"{address}/comments") if args.comments else None
    if args.json:
        dump(screen, found if comments is None else {**found, "commentList": comments})
        return DONE
    show(screen, args.chat, found)
    if comments is not None:
        _comments(screen, comments)
        if comments:
            screen.line()
            screen.line(f"Give one to the agent: {me()} pr {one_line(args.chat)} --hand ID --note TEXT", "dim")
    elif (found.get("pull") or {}).get("comments"):
        screen.line(f"Read the comments: {me()} pr {one_line(args.chat)} --comments", "dim")
    return DONE


def show(screen: Screen, chat: str, found: Frame) -> None:
    """The whole picture of a publication."""
    if found.get("state") == "local":
        _local(chat, screen, found)
        return
    repository, branch, pull = (found.get(name) or {} for name in ("repository", "branch", "pull"))
    state = one_line(found.get("state"))
    kind = "private" if repository.get("private") else "public"
    where = f"{one_line(repository.get('name'))} ({kind})" if repository else "no repository yet"
    said = "Published, but the last attempt failed" if state == "failed" and branch else state.capitalize()
    screen.line(f"{said}: {where}", "bold")
    for name, url in (
        ("Repository", repository.get("url")),
        ("Branch", branch.get("url")),
        ("Compare", branch.get("compareUrl")),
        ("Pull request", pull.get("url")),
    ):
        if url:
            screen.line(f"{name:<13} {one_line(url)}")
    if pull:
        _pull(screen, pull)
    elif branch:
        screen.line("There is no pull request for the branch yet.", "dim")
    if found.get("ahead"):
        commits = "1 commit is" if found["ahead"] == 1 else f"{one_line(found['ahead'])} commits are"
        screen.line(f"{commits} not published yet: {me()} publish {one_line(chat)}", "yellow")
    for note in found.get("notes") or []:
        screen.line(f"- {one_line(note)}")
    if problem := found.get("problem") or {}:
        screen.line(f"! {clean(problem.get('error'))}", "red")
        for more in (problem.get("next"), problem.get("url")):
            if more:
                screen.line(clean(more), indent="  ")
    if found.get("checkedAt"):
        screen.line(f"GitHub was asked at {when(found['checkedAt'])}; --refresh asks now.", "dim")


def _local(chat: str, screen: Screen, found: Frame) -> None:
    screen.line("Not published: the work is here only.")
    if not found.get("connected"):
        screen.line(f"Connect GitHub first: {me()} github connect", indent="  ")
    elif found.get("canPublish"):
        screen.line(f"Publish it: {me()} publish {one_line(chat)}", indent="  ")
    else:
        screen.line("There is nothing to publish yet.", indent="  ")


def _pull(screen: Screen, pull: Frame) -> None:
    checks, review = pull.get("checks") or {}, pull.get("review") or {}
    state = one_line(pull.get("state"))
    state = "draft" if state == "open" and pull.get("draft") else state
    conflict = ", it conflicts with its base" if state in ("open", "draft") and pull.get("mergeable") is False else ""
    screen.line(f"{'State':<13} #{one_line(pull.get('number'))} {state}{conflict}: {one_line(pull.get('title'), 100)}")
    how = _CHECKS.get(str(checks.get("state")), "none")
    count = f" ({one_line(checks.get('passed'))} of {one_line(checks.get('total'))} passed)" if how != "none" else ""
    link = f"  {one_line(checks['url'])}" if checks.get("url") else ""
    screen.line(f"{'Checks':<13} {how}{count}{link}", *(["red"] if how == "FAILED" else []))
    said = _REVIEW.get(str(review.get("state")), "none")
    who = [*(review.get("approvedBy") or []), *(review.get("changesRequestedBy") or [])]
    screen.line(f"{'Review':<13} {said}" + (f" by {', '.join(one_line(name, 40) for name in who)}" if who else ""))
    screen.line(f"{'Comments':<13} {one_line(pull.get('comments') or 0)}")


def _comments(screen: Screen, comments: list[Frame]) -> None:
    if not comments:
        screen.line("Nobody has written anything yet.")
    for comment in comments:
        screen.line()
        path, line = one_line(comment.get("path") or ""), comment.get("line")
        place = f", {path}{f' line {one_line(line)}' if line else ''}" if path else ""
        verdict = (
            f", {_REVIEW.get(str(comment['review']), one_line(comment['review']))}" if comment.get("review") else ""
        )
        given = ", handed to the agent" if comment.get("handed") else ""
        who = f"@{one_line(comment.get('author'), 60)}{' (a program)' if comment.get('bot') else ''}"
        screen.line(f"{one_line(comment.get('id'))}  {who}, {when(comment.get('at'))}{verdict}{place}{given}", "bold")
        lines = clean(comment.get("body")).strip().split("\n")
        for text in lines[:MAX_LINES]:
            screen.line(text, indent="  ")
        if len(lines) > MAX_LINES:
            screen.line(f"… {len(lines) - MAX_LINES} more lines: {one_line(comment.get('url'))}", "dim", indent="  ")


async def _hand(args: argparse.Namespace, rest: Rest, address: str, screen: Screen) -> int:
    """Hand comments to the agent; with --hand-all those of people that were not handed over before."""
    ids = list(args.hand or [])
    if args.hand_all:
        found = await rest("GET", f"{address}/comments")
        ids = [str(comment["id"]) for comment in found if not comment.get("handed") and not comment.get("bot")]
        if not ids:
            raise Problem(
                "There is no new comment of a person.",
                exit_code=FAILED,
                next=f"{me()} pr {one_line(args.chat)} --comments shows all; --hand ID hands one over again.",
                code="not_found",
            )
    ack = await rest("POST", f"{address}/comments", {"ids": ids, "note": args.note or ""})
    count = "1 comment" if len(ids) == 1 else f"{len(ids)} comments"
    if isinstance(ack, dict) and ack.get("duplicate"):
        acknowledged(args, screen, ack, f"The agent has {'it' if len(ids) == 1 else 'them'} already.")
    else:
        acknowledged(args, screen, ack, f"Handed {count} to the agent. Follow it: {me()} watch {one_line(args.chat)}")
    return DONE
