"""The administrator's file with MCP servers, ``PostdocApp.mcp_file``, in the form that most programs use:

``{"mcpServers": {name: {"command", "args", "env", "cwd"} or {"url", "headers"}}}``, as JSON or YAML. No other file is
ever read: a ``.mcp.json`` in a project may have been written by an agent, and what it names would run outside of the
sandbox.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta, Struct

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.connectors.names import slugs

MAX_FILE = 1 << 20
MAX_SERVERS = 50
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""All that a server's process gets of our environment; the rest is what its entry says."""

Risk = Literal["read", "write", "execute", "outside"]
Pattern = Annotated[str, Meta(min_length=1, max_length=200)]
Value = str | int | float

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET_NAME = re.compile(r"(?i)auth|key|token|secret|cookie|password")


class Wrong(ValueError):
    """An entry that cannot be used; its text is a sentence for the administrator, without its server's name."""


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One server as the file has it. The last four fields are other programs' and have no effect here."""

    command: Annotated[str, Meta(min_length=1)] | None = None
    args: list[Value] = []
    env: dict[str, Value] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, Value] = {}
    tools: list[Pattern] | None = None
    risk: Risk | dict[Pattern, Risk] = {}
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 120.0
    disabled: bool = False
    type: str | None = None
    description: str = ""
    autoApprove: Any = None
    alwaysAllow: Any = None


class Server(Struct, frozen=True):
    """A server that can be connected. ``slug`` stands for it in the names of tools; ``folder`` is where it runs."""

    name: str
    slug: str
    entry: Entry
    folder: str

    @property
    def prefix(self) -> str:
        """What the names of all of its tools begin with."""
        return f"mcp__{self.slug}__"

    def offers(self, tool: str) -> bool:
        """Whether the file lets agents have this tool (by the server's own name for it)."""
        return self.entry.tools is None or any(fnmatchcase(tool, pattern) for pattern in self.entry.tools)

    def risk_of(self, tool: str, *, read_only: bool) -> Risk:
        """What the file says, the most specific pattern first; else the server's own word: read, or outside."""
        said = self.entry.risk
        if isinstance(said, str):
            return said
        fitting = [pattern for pattern in said if fnmatchcase(tool, pattern)]
        if fitting:
            return said[max(fitting, key=lambda key: (key == tool, len(key.replace("*", "").replace("?", ""))))]
        return "read" if read_only else "outside"

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What its process sees: the allow-list, then its own entries. Raises Wrong for an unset variable."""
        given = {name: _resolved(str(value), environ) for name, value in self.entry.env.items()}
        secrets.register_environment(given)
        return {name: environ[name] for name in INHERITED if name in environ} | given

    def http_headers(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What is sent with every request. Raises Wrong for an unset variable or a value that cannot be sent."""
        found = {}
        for name, raw in self.entry.headers.items():
            value = _resolved(str(raw), environ)
            if not value.isascii() or not value.isprintable():
                raise Wrong(f"The header {name} holds a character that cannot be sent.")
            if _SECRET_NAME.search(name):
                secrets.register(value, value.split()[-1] if value.split() else None)
            found[name] = value
        return found

    @property
    def where(self) -> str:
        """For people: the program, or scheme and host. The path and the query of an address may hold a secret."""
        if self.entry.url is None:
            return Path(self.entry.command or "").name
        parts = urlsplit(self.entry.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


class Config(Struct, frozen=True):
    """The servers in the order of the file, and a sentence for each entry that cannot be used."""

    servers: list[Server] = []
    problems: list[str] = []


class ConfigFile:
    """The file; read again when it has changed, so that an edit needs no restart."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, ...] = ()
        self._config = Config()

    def read(self) -> Config:
        """What it says now. Never raises: what is wrong is among the problems."""
        if self._path is None:
            return self._config
        try:
            facts = self._path.stat()
        except OSError as e:
            return Config(problems=[f"The file of MCP servers cannot be read: {e.strerror}."])
        stamp = (facts.st_mtime_ns, facts.st_size, facts.st_mode, facts.st_ino)
        if stamp != self._stamp:
            self._config = _read(self._path, facts)
            self._stamp = stamp
        return self._config


def _read(path: Path, facts: os.stat_result) -> Config:
    what = f"The file of MCP servers {path.name}"
    if os.name == "posix" and facts.st_mode & stat.S_IWOTH:
        return Config(problems=[f"{what} can be changed by everybody, so it is not used. Run: chmod o-w {path.name}"])
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_FILE:
        return Config(problems=[f"{what} is not a file of at most 1 MiB."])
    try:
        raw = _parsed(path.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        return Config(problems=[f"{what} is not used: {getattr(e, 'strerror', None) or e}."])
    entries = raw.get("mcpServers") if isinstance(raw, dict) else None
    if not isinstance(entries, dict) or len(entries) > MAX_SERVERS:
        return Config(problems=[f"{what} must hold `mcpServers`: at most {MAX_SERVERS} servers, each by its name."])
    names = slugs(str(name) for name in entries)
    config = Config()
    for name, entry in entries.items():
        try:
            server = _server(str(name), names[str(name)], entry, path.absolute().parent)
        except Wrong as e:
            config.problems.append(f"The MCP server {str(name)[:60]!r} is not used: {e}")
            continue
        if not server.entry.disabled:
            config.servers.append(server)
    return config


def _parsed(data: bytes) -> Any:
    """JSON, or YAML. Raises ValueError with what is wrong and where."""
    if data.lstrip()[:1] == b"{":
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            pass  # it may still be YAML, whose message names the line
    import yaml

    try:
        return yaml.safe_load(data.decode("utf-8"))
    except yaml.MarkedYAMLError as e:
        where = f" (line {e.problem_mark.line + 1})" if e.problem_mark else ""
        raise ValueError(f"{e.problem or 'it is neither JSON nor YAML'}{where}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ValueError("it is not a text file in UTF-8 with JSON or YAML") from e


def _server(name: str, slug: str, raw: Any, folder: Path) -> Server:
    if not isinstance(raw, dict):
        raise Wrong("it needs a `command` or a `url`.")
    try:
        entry = msgspec.convert(cast(dict[str, Any], raw), Entry)
    except msgspec.ValidationError as e:
        raise Wrong(f"{e}.") from e
    if (entry.command is None) == (entry.url is None):
        raise Wrong("it needs either a `command` or a `url`.")
    if entry.url is None:
        _check_program(entry)
        given = Path(entry.cwd).expanduser() if entry.cwd else folder
        return Server(name, slug, entry, str(folder / given))
    _check_address(entry, entry.url)
    return Server(name, slug, entry, str(folder))


def _check_program(entry: Entry) -> None:
    if entry.headers:
        raise Wrong("`headers` belong to a `url`.")
    if entry.type not in (None, "stdio"):
        raise Wrong(f"a `command` is spoken to by its standard input and output, not by {entry.type!r}.")
    texts = [entry.command or "", entry.cwd or "", *map(str, entry.args), *entry.env, *map(str, entry.env.values())]
    if any("\0" in text for text in texts) or any(not name or "=" in name for name in entry.env):
        raise Wrong("its command or its environment holds a character that cannot be there.")


def _check_address(entry: Entry, url: str) -> None:
    if entry.args or entry.env or entry.cwd:
        raise Wrong("`args`, `env` and `cwd` belong to a `command`.")
    if entry.type not in (None, "http", "streamable-http", "streamableHttp", "streamable_http"):
        raise Wrong(f"the transport {str(entry.type)[:30]!r} is not supported; use the server's streamable HTTP.")
    if "${" in url:
        raise Wrong("references such as ${NAME} are replaced in `env` and `headers` only.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise Wrong("its `url` is not an address that begins with http:// or https://.")
    if parts.username is not None or parts.password is not None:
        raise Wrong("its `url` holds a login; send it in `headers`, as a reference to a variable.")
    if any(_HEADER.fullmatch(name) is None for name in entry.headers):
        raise Wrong("one of its `headers` has a name that cannot be sent.")
    secrets.register(*(value for name, value in parse_qsl(parts.query) if _SECRET_NAME.search(name)))


def _resolved(text: str, environ: Mapping[str, str]) -> str:
    """``${NAME}`` and ``${NAME:-default}`` replaced from the environment; no program and no shell is asked.

    What a reference stands for is a secret from now on, unless it is a path or an address.
    """

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        known = environ.get(name)
        if not known and default is not None:
            return default
        if known is None:
            raise Wrong(f"The variable {name} is not set in the environment of the Jupyter server.")
        _keep_secret(name, known)
        return known

    return _REFERENCE.sub(value, text)


def _keep_secret(name: str, value: str) -> None:
    """What is referred to stands outside of the file because it is secret, unless it is a path or an address."""
    if name not in INHERITED:
        secrets.register_environment({name: value} if "://" in value else {"SECRET": value})
