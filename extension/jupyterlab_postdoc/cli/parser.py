"""The command line itself. Nothing here is slow to import: `--help` answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed or stopped, 2 wrong use (also: no template fits), 3 no connection, "
    "4 it waits for an answer and nobody is at the terminal."
)
SERVER_HELP = (
    "The command talks to a running Jupyter server with Postdoc (first the one whose folder holds this one); "
    "when none runs, it starts one for its own duration."
)


def _connection() -> argparse.ArgumentParser:
    """Options that every command has."""
    options = argparse.ArgumentParser(add_help=False)
    group = options.add_argument_group("server", SERVER_HELP)
    group.add_argument("--url", help="address of the server (or POSTDOC_URL)")
    group.add_argument("--token", help="its token; POSTDOC_TOKEN does not show in the process list")
    group.add_argument("--root", type=Path, metavar="DIR", help="folder of the server; started there when none runs")
    group.add_argument("--no-start", action="store_true", help="never start a server: exit 3 when none runs")
    options.add_argument("--json", action="store_true", help="JSON: events one per line as the protocol has them")
    return options


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seq(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name.strip(), value


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def build() -> argparse.ArgumentParser:
    """The parser of `jupyter postdoc`."""
    parser = argparse.ArgumentParser(
        prog="jupyter postdoc",
        description="Research from the terminal: a topic becomes an executed marimo notebook in a git repository.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    common = [_connection()]

    def add(name: str, help: str, **more: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, parents=common, epilog=EXIT_CODES, **more)  # type: ignore[arg-type]

    _research(add("research", "Research a topic and wait for the result."))
    _chats(add("chats", "List, show or delete chats and research sessions."))
    _talk(add)
    _rooms(add)
    _templates(add("templates", "List and show research templates; check or begin your own."))
    _repos(add("repos", "List, find on GitHub, register, show or remove repositories to work in."))
    add("models", "List the models that may be used, what they can read and what they cost.")
    _github(add("github", "Say who is connected to GitHub, connect, or disconnect."))
    _notebook(add("notebook", "Show a chat's notebook and who has it; take it over from the agent, give it back."))
    _publish(add("publish", "Publish a chat's project on GitHub, or send what is new, and go on where it stopped."))
    _pull(add("pr", "Show where a chat is published, its pull request, and what people wrote there."))
    add("status", "Say which server is used and how each of its parts is.")
    return parser


def _research(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", help='the question or topic, e.g. "Short Term Reversal"')
    parser.add_argument("--template", help="the research template; chosen from the topic when left out")
    parser.add_argument(
        "--param", type=_parameter, action="append", default=[], metavar="NAME=VALUE",
        help="a parameter of the template, e.g. data=returns.csv or lookback=12; may be repeated",
    )  # fmt: skip
    parser.add_argument("--repo-name", metavar="NAME", help="name of the repository; made from the topic when left out")
    parser.add_argument(
        "--repo", metavar="REPOSITORY", help="work on a branch of this repository (owner/name, or see `repos`)"
    )
    parser.add_argument("--title", help="title of the chat")
    parser.add_argument("--persona", help="persona of the agent")
    parser.add_argument(
        "--provider", choices=["template", "anthropic"],
        help="who does it: a template's script, or a model; a model when the server has a key",
    )  # fmt: skip
    parser.add_argument("--model", metavar="NAME", help="haiku, sonnet, opus, or a name from `models`")
    parser.add_argument("--budget-usd", type=_positive, metavar="X", help="ask before more than this is spent")
    parser.add_argument("--budget-minutes", type=_positive, metavar="MIN", help="work at most this long")
    parser.add_argument("--budget-turns", type=_count, metavar="N", help="take at most this many agent turns")


def _repos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "available", "add", "show", "remove"], default="list")
    parser.add_argument(
        "repository", nargs="?", metavar="REPOSITORY",
        help="add: owner/name on GitHub, or a git address; show, remove: its name or id; available: a part of the name",
    )  # fmt: skip


def _chats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "show", "delete"], default="list")
    parser.add_argument("chat", nargs="?", metavar="CHAT")
    parser.add_argument("--limit", type=_count, default=50, metavar="N", help="list at most this many")
    parser.add_argument("--archived", action="store_true", help="list the archived ones")


def _talk(add) -> None:  # type: ignore[no-untyped-def]
    watch = add("watch", "Follow a chat, or a room with --room, until Ctrl-C; reconnects and resumes by itself.")
    watch.add_argument("chat", nargs="?", metavar="CHAT")
    watch.add_argument("--room", help="follow this room")
    watch.add_argument("--after", type=_seq, default=None, metavar="SEQ", help="only what came after this event")
    watch.add_argument("--types", type=_list, metavar="A,B", help="only these types of events")
    watch.add_argument("--until-done", action="store_true", help="leave when the run ends, with its exit code")

    chat = add(
        "chat",
        "Talk to an agent: one message and its answer, or a conversation at the terminal. "
        "Ctrl-C finishes the current step and stops, twice stops at once.",
    )
    chat.add_argument("words", nargs="*", metavar="[CHAT] MESSAGE", help="`-` reads the message from standard input")
    chat.add_argument(
        "--model", metavar="NAME", help="haiku, sonnet, opus, or a name from `models`; kept with the chat"
    )
    chat.add_argument("--persona", metavar="NAME", help="researcher, analyst, reviewer, assistant, or one of your own")
    chat.add_argument(
        "--repo", metavar="REPOSITORY", help="a new chat on a branch of this repository (owner/name, or see `repos`)"
    )

    send = add("send", "Say something in a chat.")
    send.add_argument("chat", metavar="CHAT")
    send.add_argument("text", metavar="TEXT")
    send.add_argument("--mode", choices=["queue", "steer", "interrupt"], default="queue", help="while a run goes on")
    send.add_argument("--wait", action="store_true", help="follow until the answer is complete")

    stop = add("stop", "Stop the run of a chat.")
    stop.add_argument("chat", metavar="CHAT")
    stop.add_argument("--now", action="store_true", help="at once, without finishing the current step")

    resume = add("resume", "Carry on a run that was stopped, interrupted or failed, and follow it.")
    resume.add_argument("chat", metavar="CHAT")

    respond = add("respond", "Answer a question of an agent, or allow or deny what it asks leave for.")
    respond.add_argument("chat", metavar="CHAT")
    respond.add_argument("request", metavar="REQUEST")
    respond.add_argument("answer", metavar="ANSWER", help="the answer; allow or deny when leave was asked for")
    respond.add_argument(
        "--scope", choices=["once", "session", "always"], help="for allow: this once, in this chat, or from now on"
    )

    requests = add("requests", "List what agents ask and nobody has answered yet.")
    requests.add_argument("chat", nargs="?", metavar="CHAT", help="only of this chat")


def _rooms(add) -> None:  # type: ignore[no-untyped-def]
    post = add("post", "Post a message in a room.")
    post.add_argument("words", nargs="+", metavar="ROOM TEXT", help="the room and the text (with --room: the text)")
    post.add_argument("--room", help="the room")
    post.add_argument("--agent", required=True, metavar="NAME", help="who says it")
    post.add_argument("--kind", default="note", help="status, question, blocker, result, note, … (default: note)")

    rooms = add("rooms", "List rooms, read one, or follow one.")
    rooms.add_argument("action", nargs="?", choices=["list", "read", "watch"], default="list")
    rooms.add_argument("room", nargs="?", metavar="ROOM")
    rooms.add_argument("--after-id", type=_seq, metavar="ID", help="only messages after this one")
    rooms.add_argument("--limit", type=_count, default=100, metavar="N", help="read at most this many")
    rooms.add_argument("--agent", metavar="NAME", help="watch: only this agent's messages")
    rooms.add_argument("--kind", help="watch: only messages of this kind")


def _templates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "show", "check", "new"], default="list")
    parser.add_argument(
        "name", nargs="?", metavar="NAME|FOLDER", help="show: its name; check: its folder; new: a folder"
    )
    parser.add_argument("--title", help="new: the title of the template")


def _github(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["status", "connect", "disconnect"], default="status")
    group = parser.add_argument_group(
        "connect", "The token is asked for without showing it, or read from standard input; it is no argument."
    )
    group.add_argument("--gh", action="store_true", help="use the login of GitHub's own program `gh`")
    group.add_argument("--keyring", action="store_true", help="keep the token in the system's keyring, not in a file")


def _notebook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("chat", metavar="CHAT")
    do = parser.add_mutually_exclusive_group()
    for name, value, help in (
        ("--take", "take", "take the notebook over: the agent waits before its next change"),
        ("--give", "give", "give it back: what you changed is committed, and the agent goes on"),
        ("--interrupt", "interrupt", "interrupt what runs in its kernel"),
        ("--restart-kernel", "kernel", "a new kernel: all variables are lost"),
        ("--restart-editor", "editor", "start its editor anew"),
        ("--close", "close", "save it and end its editor"),
    ):
        do.add_argument(name, dest="do", action="store_const", const=value, help=help)


def _publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("chat", metavar="CHAT")
    parser.add_argument("--owner", help="user or organisation that the new repository belongs to")
    parser.add_argument("--name", help="name of the new repository")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--private", action="store_true", help="only those you invite see the new repository")
    seen.add_argument("--public", action="store_true", help="everybody sees the new repository")
    parser.add_argument("--use-existing", action="store_true", help="a repository of that name may be used as it is")
    parser.add_argument("--squash", action="store_true", help="send one commit in place of the history of steps")
    parser.add_argument("--branch", help="another name for the session's branch")
    parser.add_argument("--force", action="store_true", help="overwrite that branch, if it is as it was seen last")
    parser.add_argument("--accept-moved", action="store_true", help="the repository was renamed, and that is right")
    parser.add_argument("--no-pr", action="store_true", help="open no pull request")


def _pull(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("chat", metavar="CHAT")
    parser.add_argument("--refresh", action="store_true", help="ask GitHub now, not at the next regular look")
    parser.add_argument("--comments", action="store_true", help="show what people wrote, with the ids for --hand")
    parser.add_argument(
        "--hand", nargs="+", metavar="ID", help="hand these comments to the agent, as one message that quotes them"
    )
    parser.add_argument("--hand-all", action="store_true", help="hand over all comments of people that are new")
    parser.add_argument("--note", metavar="TEXT", help="what you say to the agent about them")
