"""The administrator's file: what is right, what is wrong, and what people are told of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.support import configure

from jupyterlab_postdoc.connectors.config import Config, ConfigFile, Server, Wrong
from jupyterlab_postdoc.secrets import redact


def read(folder: Path, **servers: Any) -> Config:
    return ConfigFile(configure(folder, **servers)).read()


def one(folder: Path, **entry: Any) -> Server:
    config = read(folder, papers=entry)
    assert config.problems == []
    return config.servers[0]


def test_the_widespread_form_is_read_as_json_and_as_yaml(tmp_path: Path) -> None:
    entry = {"command": "npx", "args": ["-y", "papers", 3], "env": {"LEVEL": 2}, "type": "stdio", "autoApprove": ["x"]}
    server = one(tmp_path, **entry)
    assert (server.entry.command, server.entry.args, server.folder) == ("npx", ["-y", "papers", 3], str(tmp_path))
    assert server.environment({"PATH": "/bin"}) == {"PATH": "/bin", "LEVEL": "2"}
    file = tmp_path / "mcp.yaml"
    file.write_text(
        "mcpServers:\n  papers:\n    url: https://example.org/mcp\n    timeout_s: 30\n  # not now\n"
        "  off: {command: x, disabled: true}\n"
    )
    config = ConfigFile(file).read()
    assert [(s.name, s.where, s.entry.timeout_s) for s in config.servers] == [("papers", "https://example.org", 30)]
    assert config.problems == []


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({}, "either a `command` or a `url`"),
        ("npx papers", "needs a `command` or a `url`"),
        ({"command": "x", "url": "https://a.org"}, "either a `command` or a `url`"),
        ({"command": ["npx"]}, "Expected `str | null`"),
        ({"command": "x", "tool": ["a"]}, "unknown field `tool`"),
        ({"command": "x", "env": {"A": ["b"]}}, "env"),
        ({"command": "x", "env": {"A=B": "b"}}, "cannot be there"),
        ({"command": "x\0"}, "cannot be there"),
        ({"command": "x", "risk": {"a": "harmless"}}, "harmless"),
        ({"command": "x", "timeout_s": 0}, "timeout_s"),
        ({"command": "x", "headers": {"A": "b"}}, "`headers` belong to a `url`"),
        ({"url": "ftp://a.org/mcp"}, "http:// or https://"),
        ({"url": "https://"}, "http:// or https://"),
        ({"url": "https://a.org:99999"}, "http:// or https://"),
        ({"url": "https://me:pw@a.org/mcp"}, "holds a login"),
        ({"url": "https://a.org/${KEY}"}, "`env` and `headers` only"),
        ({"url": "https://a.org/sse", "type": "sse"}, "'sse' is not supported"),
        ({"url": "https://a.org", "env": {"A": "b"}}, "belong to a `command`"),
        ({"url": "https://a.org", "headers": {"A b": "c"}}, "cannot be sent"),
    ],
)
def test_a_wrong_entry_disables_itself_alone(tmp_path: Path, entry: Any, sentence: str) -> None:
    config = read(tmp_path, good={"command": "x"}, bad=entry)
    assert [server.name for server in config.servers] == ["good"]
    assert len(config.problems) == 1
    assert config.problems[0].startswith("The MCP server 'bad' is not used: ")
    assert sentence in config.problems[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "must hold `mcpServers`"),
        (b"[1]", "must hold `mcpServers`"),
        (b'{"mcpServers": [1]}', "must hold `mcpServers`"),
        (b'{"mcpServers": {', "line"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 100_000, "is not used"),
        (b"a: !!python/object/apply:os.system [id]", "is not used"),
    ],
)
def test_a_wrong_file_is_a_sentence(tmp_path: Path, text: bytes, sentence: str) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(text)
    config = ConfigFile(file).read()
    assert config.servers == []
    assert len(config.problems) == 1
    assert sentence in config.problems[0]


def test_a_file_that_is_missing_or_that_everybody_can_change_is_not_used(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in ConfigFile(tmp_path / "no.json").read().problems[0]
    file = configure(tmp_path, papers={"command": "x"})
    file.chmod(0o666)
    assert "chmod o-w mcp.json" in ConfigFile(file).read().problems[0]
    assert ConfigFile(None).read() == Config()


def test_a_change_is_seen_without_a_restart(tmp_path: Path) -> None:
    file = ConfigFile(configure(tmp_path, papers={"command": "x"}))
    first = file.read()
    assert file.read() is first
    configure(tmp_path, papers={"command": "x"}, more={"command": "y"})
    assert [server.name for server in file.read().servers] == ["papers", "more"]


def test_references_are_resolved_when_the_connection_is_made(tmp_path: Path) -> None:
    entry = {"command": "x", "args": ["${HOME}"], "env": {"KEY": "${MY_KEY}", "MODE": "${MODE:-fast}", "RAW": "$A {b}"}}
    server = one(tmp_path, **entry)
    given = {"PATH": "/bin", "MY_KEY": "k-123456789", "ANTHROPIC_API_KEY": "sk-no", "SECRET": "no"}
    env = server.environment(given)
    assert env == {"PATH": "/bin", "KEY": "k-123456789", "MODE": "fast", "RAW": "$A {b}"}
    assert server.entry.args == ["${HOME}"]
    with pytest.raises(Wrong, match="variable MY_KEY is not set"):
        server.environment({})
    assert redact("said k-123456789") == "said [secret removed]"
    assert one(tmp_path, command="x", env={"HERE": "${PLACE}"}).environment({"PLACE": "/srv/papers"})
    assert redact("in /srv/papers") == "in /srv/papers"


def test_what_is_referred_to_is_a_secret_whatever_its_name(tmp_path: Path) -> None:
    env = {"LOGIN": "${WHO}", "PLACE": "${PLACE}", "AT": "${AT}", "SHOWN": "${LANG}"}
    given = {
        "WHO": "w-5501928374",
        "PLACE": "/srv/some/papers",
        "AT": "https://papers.example/x",
        "LANG": "en_GB.UTF-8",
    }
    one(tmp_path, command="x", env=env).environment(given)
    assert redact("w-5501928374") == "[secret removed]"
    plain = "/srv/some/papers https://papers.example/x en_GB.UTF-8"
    assert redact(plain) == plain


def test_headers_are_secret_and_sendable(tmp_path: Path) -> None:
    server = one(tmp_path, url="https://a.org/mcp?api_key=q-987654321", headers={"Authorization": "Bearer ${PAPERS}"})
    assert server.http_headers({"PAPERS": "p-192837465"}) == {"Authorization": "Bearer p-192837465"}
    assert redact("p-192837465 q-987654321").count("[secret removed]") == 2
    assert "q-98" not in server.where
    with pytest.raises(Wrong, match="Authorization holds a character"):
        server.http_headers({"PAPERS": "a\r\nX-Other: b"})


def test_the_most_specific_risk_counts(tmp_path: Path) -> None:
    server = one(tmp_path, command="x", risk={"*": "outside", "get_*": "read", "get_money": "execute"})
    risks = [server.risk_of(tool, read_only=True) for tool in ("put", "get_paper", "get_money")]
    assert risks == ["outside", "read", "execute"]
    assert one(tmp_path, command="x", risk="outside").risk_of("get", read_only=True) == "outside"
    plain = one(tmp_path, command="x", tools=["get_*"])
    assert (plain.risk_of("get", read_only=True), plain.risk_of("get", read_only=False)) == ("read", "outside")
    assert (plain.offers("get_a"), plain.offers("put_a")) == (True, False)


def test_no_file_of_a_project_is_ever_read(tmp_path: Path) -> None:
    """Neither in the folder of the server nor beside the administrator's file."""
    evil = json.dumps({"mcpServers": {"evil": {"command": "touch", "args": [str(tmp_path / "evil")]}}})
    for name in (".mcp.json", "mcp.json", ".claude.json", "mcp.yaml"):
        (tmp_path / name).write_text(evil)
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert ConfigFile(None).read() == Config()
        own = tmp_path / "admin"
        own.mkdir()
        (own / ".mcp.json").write_text(evil)
        assert [server.name for server in read(own, papers={"command": "x"}).servers] == ["papers"]
    finally:
        os.chdir(before)


def test_a_folder_is_where_the_file_is_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert one(tmp_path, command="x", cwd="sub").folder == str(tmp_path / "sub")
    assert one(tmp_path, command="x", cwd="/srv").folder == "/srv"
    assert one(tmp_path, command="x", cwd="~/a").folder == str(Path.home() / "a")
