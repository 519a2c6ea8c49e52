"""`jupyter postdoc github`: who is connected to GitHub, connecting, disconnecting. A token is never an argument."""

from __future__ import annotations

import argparse
import getpass
import sys
import warnings
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from .client import Rest
from .output import dump
from .problems import DONE, FAILED, Problem, usage
from .screen import Screen
from .server import Server, Source
from .text import clean, one_line, when

Frame = dict[str, Any]
_SOURCES = {
    "stored": "by a token that you have stored",
    "keyring": "by a token in the system's keyring",
    "gh": "by the login of `gh`",
    "file": "by the server's token file",
    "environment": "by the token in the server's environment",
    "app": "by the server's GitHub App",
}
_MARKS = {True: "yes", False: "NO", None: "?"}


async def github(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Status, connect or disconnect."""
    if args.action != "connect" and (args.gh or args.keyring):
        raise usage("--gh and --keyring are for `github connect`.")
    if args.gh and args.keyring:
        raise usage("--gh and --keyring exclude each other: the token of `gh` stays where `gh` keeps it.")
    server = await source.get()
    rest = Rest(source)
    if args.action == "connect":
        found = await _connect(args, server, rest)
    elif args.action == "disconnect":
        found = await _disconnect(args, rest, screen)
    else:
        found = await rest("GET", "api/github")
    if args.json:
        dump(screen, found)
    else:
        show(screen, found)
    if args.action == "disconnect":
        return DONE
    return DONE if found.get("connected") and not found.get("problem") else FAILED


async def _connect(args: argparse.Namespace, server: Server, rest: Rest) -> Frame:
    """Try a token out and keep it; the answer of the server. Problem when GitHub does not accept it."""
    if args.gh:
        return dict(await rest("PUT", "api/github", {"source": "gh"}))
    _safe(server)
    before = await rest("GET", "api/github")
    if args.keyring and not (before.get("choices") or {}).get("keyring"):
        raise Problem(
            "The server has no keyring that could keep a token safely.",
            next="Leave --keyring: a file that only the server's user can read keeps it. Or `pip install keyring`.",
        )
    token = _token(before)
    return dict(await rest("PUT", "api/github", {"token": token, "store": "keyring" if args.keyring else "file"}))


async def _disconnect(args: argparse.Namespace, rest: Rest, screen: Screen) -> Frame:
    mine = bool((await rest("GET", "api/github")).get("mine"))
    found: Frame = await rest("DELETE", "api/github")
    if not args.json:
        page = str(found.get("tokenUrl") or "").removesuffix("/new")
        screen.line(
            f"Disconnected. The token itself stays valid until you delete it at {clean(page)}."
            if mine
            else "You had connected nothing of your own."
        )
    return found


def _safe(server: Server) -> None:
    """A token is not sent through a network in the clear."""
    parts = urlsplit(server.url)
    host = parts.hostname or ""
    try:
        here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        here = host.endswith(".localhost")
    if parts.scheme != "https" and not here:
        raise Problem(
            f"The connection to {server.where} is not encrypted: others in the network could read the token.",
            next="Use its https address, run this command on that machine, or connect there with --gh.",
        )


def _token(found: Frame) -> str:
    """From a hidden prompt, or from standard input when that is no terminal."""
    if not sys.stdin.isatty():
        lines = sys.stdin.read(1 << 16).split("\n")
        token = next((line.strip() for line in lines if line.strip()), "")
        if not token:
            raise usage("Standard input has no token.", "Run `jupyter postdoc github connect` at a terminal.")
        return token
    explain(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            token = getpass.getpass("Token (it is not shown): ").strip()
        except getpass.GetPassWarning:
            raise usage("This terminal would show the token.", "Send it through standard input.") from None
        except EOFError:
            token = ""
    if not token:
        raise usage("No token was given. Nothing was changed.")
    return token


def explain(found: Frame) -> None:
    """Where a token is made, and which rights to tick. Not on standard output with --json: nobody reads it there."""
    print(f"Make a token at {clean(found.get('tokenUrl'))}", file=sys.stderr)
    print("Repository access: All repositories (of the owner that new ones belong to). Permissions:", file=sys.stderr)
    needed = [one for one in found.get("rights") or [] if ": " in str(one.get("name"))]
    for one in needed or [{"name": "Administration, Contents, Pull requests, Workflows: read and write"}]:
        print(f"  {one_line(one.get('name')):<34} {one_line(one.get('needed', ''))}", file=sys.stderr)
    print("A classic token needs the scopes repo and workflow.", file=sys.stderr)


def show(screen: Screen, found: Frame) -> None:
    """The connection in lines."""
    host, account = one_line(found.get("host")), found.get("account") or {}
    problem, choices = found.get("problem") or {}, found.get("choices") or {}
    how = _SOURCES.get(str(found.get("source")), "")
    if account:
        name = f" ({one_line(account['name'])})" if account.get("name") else ""
        screen.line(f"GitHub     {host}: {one_line(account.get('login'))}{name}, {how}", "bold")
    elif found.get("connected"):
        screen.line(f"GitHub     {host}, {how}", "bold")
    else:
        screen.line(f"GitHub     {host}: not connected. Repositories are kept on this machine.", "bold")
    if problem:
        screen.line(clean(problem.get("error")), "yellow", indent=" " * 11)
        screen.line(clean(problem.get("next")), indent=" " * 11)
    if not found.get("source"):
        login = (choices.get("gh") or {}).get("login")
        if login is not None:
            who = f" as {one_line(login)}" if login else ""
            screen.line(f"`gh` is logged in{who}: jupyter postdoc github connect --gh", indent=" " * 11)
        screen.line("With a token: jupyter postdoc github connect", indent=" " * 11)
        screen.line(f"It is made at {clean(found.get('tokenUrl'))}", indent=" " * 11)
        return
    _details(screen, found)


def _details(screen: Screen, found: Frame) -> None:
    defaults = found.get("defaults") or {}
    visible = "private" if defaults.get("private") else "public"
    if owners := ", ".join(_owner(one) for one in found.get("owners") or []):
        mine = f"; new repositories: {one_line(defaults['owner'])}, {visible}" if defaults.get("owner") else ""
        screen.line(f"Owners     {owners}{mine}")
    if found.get("account"):
        for number, right in enumerate(found.get("rights") or []):
            mark = _MARKS.get(right.get("ok"), "?")
            name = f"{'Rights' if number == 0 else '':<10} {mark:<3} {one_line(right.get('name')):<30}"
            screen.line(f"{name} {one_line(right.get('needed'))}", *(["yellow"] if right.get("ok") is False else []))
        if any(right.get("ok") is None for right in found.get("rights") or []):
            screen.line("?: GitHub does not tell which rights such a token has.", "dim", indent=" " * 11)
    for sentence in found.get("missing") or []:
        screen.line(clean(sentence), "yellow", indent=" " * 11)
    rate = found.get("rate") or {}
    if rate:
        screen.line(f"Limit      {rate.get('remaining')} of {rate.get('limit')} left until {when(rate.get('resetAt'))}")
    publishes = "at the end of each study" if defaults.get("publish") == "end" else "only when you ask for it"
    screen.line(f"Publishes  {publishes}")


def _owner(owner: Frame) -> str:
    refused = " (may not create repositories)" if owner.get("mayCreate") is False else ""
    return one_line(owner.get("login")) + refused
