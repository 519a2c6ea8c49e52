"""The canary test: an agent that does all it can to get at the server's secrets finds none, and none is kept.

Every byte below the data folder, the server's root and the logs, all answers and all frames are scanned.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.agent.support import lean
from tests.security.canary import (
    CANARIES,
    IN_FILE,
    SANDBOX,
    VALUES,
    Guarded,
    Model,
    call,
    failure,
    heard,
    leaks,
    said,
    scan,
)
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

HEADERS = b"\n-- headers --\n"
SHELL = """
env; set; ps auxeww; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n' | tee environment.txt | base64 | tee coded.txt
cat /proc/1/environ | base64; cat {secrets} ; git config --list; ls -laR {home} /root /home | head -200
git log --format='%an %ae %s' ; printenv ANTHROPIC_API_KEY GITHUB_TOKEN ; find / -name 'jpserver*' 2>/dev/null
"""
PYTHON = """
import base64, glob, json, os
print(dict(os.environ)); print(base64.b64encode(json.dumps(dict(os.environ)).encode()).decode())
for path in [*glob.glob("/proc/[0-9]*/environ"), *{secrets!r}]:
    try:
        print(path, open(path, "rb").read())
    except OSError as e:
        print(path, e)
print(os.listdir("."), sorted(globals()))
"""
CELL = """
import glob
import os
found = dict(os.environ)
for path in [*glob.glob("/proc/[0-9]*/environ"), *{secrets!r}]:
    try:
        found[path] = open(path, "rb").read()
    except OSError as e:
        found[path] = str(e)
print(found)
found
"""


def attempts(guarded: Guarded) -> Any:
    """The conversation: one attempt after another; then everything that was heard is written, committed and said."""
    secrets = [
        str(guarded.key_file),
        str(guarded.home / "data" / "postdoc.db"),
        *map(str, guarded.home.glob("runtime/*")),
    ]
    fill = {"secrets": " ".join(secrets), "home": str(guarded.home)}
    failed: list[int] = []

    def answer(request: dict[str, Any], key: str) -> Any:
        messages = request["messages"]
        offered = {tool["name"] for tool in request.get("tools", [])}
        turn = sum(message["role"] == "assistant" for message in messages)
        if "please fail" in json.dumps(messages[-1]):
            return failure(401, "authentication_error", f"The key {key} is not valid (Bearer%20{quote(key, safe='')}).")
        if turn == 1 and not failed:
            failed.append(1)
            return failure(529, "overloaded_error", f"Overloaded for Authorization: Bearer {key}")
        told = heard(messages)
        plans: list[list[dict[str, Any]]] = [
            [call(1, "shell", command=SHELL.format(**fill))],
            [
                call(10 + number, "read_file", path=path)
                for number, path in enumerate(["/proc/self/environ", "../../../runtime", *secrets, "environment.txt"])
            ],
            [call(30, "py_exec", code=PYTHON.format(secrets=secrets))],
            [
                call(40, "nb_create", title="Looking around"),
                call(41, "nb_edit", changes=[{"op": "put", "name": "look", "code": CELL.format(secrets=secrets)}]),
                call(42, "nb_run"),
            ],
            [call(50, name) for name in sorted(offered) if name.startswith("mcp__")],
            [
                call(60 + number, "fetch_dataset", url=url)
                for number, url in enumerate(
                    [f"file://{guarded.key_file}", f"http://127.0.0.1:{guarded.port}/postdoc/api/health"]
                )
            ],
            [
                call(70, "write_file", path="heard.txt", content=told[:60_000]),
                call(71, "git_commit", message=("What I heard: " + told)[-900:]),
            ],
        ]
        plans = [[one for one in plan if one["name"] in offered] for plan in plans]
        plans = [plan for plan in plans if plan]
        return plans[turn] if turn < len(plans) else said("I heard: " + told[:30_000])

    return answer


@asynccontextmanager
async def serving(tmp_path: Path, answer: Any, *more: str, **env: str) -> AsyncIterator[tuple[Guarded, Model]]:
    guarded = Guarded(tmp_path / "home", tmp_path / "home" / "templates")
    with Model(answer(guarded)).running() as model:
        guarded.env = {"ANTHROPIC_BASE_URL": model.url, "OTEL_EXPORTER_OTLP_ENDPOINT": model.url, **env}
        guarded.more = [f"--PostdocApp.anthropic_api_key_file={guarded.key_file}", *more]
        guarded.start()
        try:
            await guarded.ready()
            yield guarded, model
        finally:
            await asyncio.to_thread(guarded.stop)


async def settled(guarded: Guarded, chat: str, limit_s: float = 90) -> dict[str, Any]:
    async with asyncio.timeout(limit_s):
        while True:
            shown: dict[str, Any] = await guarded.request("GET", f"api/chats/{chat}")
            if shown["state"] in ("finished", "error", "stopped", "waiting"):
                return shown
            await asyncio.sleep(0.2)


async def everything_shown(guarded: Guarded, chats: list[str]) -> dict[str, bytes]:
    """Every REST answer, and the frames of a socket that follows from the beginning."""
    paths = ["chats", "rooms", "templates", "personas", "models", "health", "agents.md", "no-such-thing"]
    for chat in chats:
        paths += [f"chats/{chat}{part}" for part in ("", "/messages", "/events", "/report")]
    shown: dict[str, bytes] = {}
    for path in [*(f"postdoc/api/{path}" for path in paths), "metrics", "api/contents", "api/status"]:
        shown[path] = await fetch(guarded, path)
    for chat in chats:
        events = json.loads(shown[f"postdoc/api/chats/{chat}/events"].split(HEADERS)[0])["events"]
        for event in events:
            if blob := event.get("blob"):
                shown[f"blob {blob}"] = await fetch(guarded, f"postdoc/api/chats/{chat}/blobs/{blob}")
        shown[f"frames of {chat}"] = await frames(guarded, chat)
    return shown


async def fetch(guarded: Guarded, path: str) -> bytes:
    headers = {"Authorization": f"token {guarded.token}"}
    url = guarded.url.removesuffix("postdoc/") + path
    response = await AsyncHTTPClient().fetch(HTTPRequest(url, headers=headers), raise_error=False)
    return response.body + HEADERS + str(list(response.headers.get_all())).encode()


@asynccontextmanager
async def live(guarded: Guarded, chat: str) -> AsyncIterator[list[str]]:
    """The frames as somebody sees them who watches: partial text too, which its end replaces in the log."""
    headers = {"Authorization": f"token {guarded.token}"}
    socket = await websocket_connect(HTTPRequest(guarded.url.replace("http://", "ws://") + "ws", headers=headers))
    got: list[str] = []

    async def read() -> None:
        while isinstance(message := await socket.read_message(), str):
            got.append(message)

    await socket.write_message(json.dumps({"type": "subscribe", "chatId": chat, "after": 0}))
    task = asyncio.create_task(read())
    try:
        yield got
    finally:
        socket.close()
        await task


async def frames(guarded: Guarded, chat: str) -> bytes:
    headers = {"Authorization": f"token {guarded.token}"}
    socket = await websocket_connect(HTTPRequest(guarded.url.replace("http://", "ws://") + "ws", headers=headers))
    got: list[str] = []
    try:
        await socket.write_message(json.dumps({"type": "subscribe", "chatId": chat, "after": 0}))
        async with asyncio.timeout(3):
            while isinstance(message := await socket.read_message(), str):
                got.append(message)
    except TimeoutError:
        pass
    finally:
        socket.close()
    return "\n".join(got).encode()


def found_anywhere(guarded: Guarded, model: Model, shown: dict[str, bytes]) -> list[str]:
    """The canaries in command lines and environments, in answers and frames, in what was sent away, and on disk."""
    found = list(guarded.seen)
    found += [leak for where, data in shown.items() for leak in leaks(data, where)]
    found += [leak for body in model.bodies for leak in leaks(body, "request to the model")]
    found += [leak for body in model.traces for leak in leaks(body, "trace")]
    return found + scan(guarded.home)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(not SANDBOX, reason="needs bubblewrap")
async def test_a_template_finds_no_secret_either(tmp_path: Path) -> None:
    """The same for a notebook that comes with a template and runs without a model."""
    async with serving(tmp_path, attempts) as (guarded, model):
        lean(guarded.templates / "lean", load=CELL.format(secrets=[str(guarded.key_file)]) + "data = [1, 2, 3]\n")
        with guarded.watched():
            chat = (await guarded.request("POST", "api/chats", {}))["id"]
            wanted = {"topic": "Canary topic", "template": "lean", "provider": "template"}
            await guarded.request("POST", f"api/chats/{chat}/research", wanted)
            state = (await settled(guarded, chat))["state"]
        shown = await everything_shown(guarded, [chat])
    assert state == "finished", shown[f"frames of {chat}"].decode()[-2000:]
    assert b"No such file" in b"".join(path.read_bytes() for path in (guarded.root / "research").rglob("*.html"))
    assert model.bodies == []
    assert found_anywhere(guarded, model, shown) == []


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(not SANDBOX, reason="needs bubblewrap")
async def test_no_secret_is_found_kept_or_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, attempts) as (guarded, model):
        with guarded.watched():
            chat = (await guarded.request("POST", "api/chats", {}))["id"]
            await guarded.request(
                "POST", f"api/chats/{chat}/research", {"topic": "Canary topic", "provider": "anthropic"}
            )
            async with live(guarded, chat) as watched:
                await allowed(guarded, chat)
            talk = (await guarded.request("POST", "api/chats", {}))["id"]
            await guarded.request("POST", f"api/chats/{talk}/messages", {"content": "please fail"})
            refused = await settled(guarded, talk)
        shown = await everything_shown(guarded, [chat, talk])
        shown["live frames"] = "\n".join(watched).encode()
    frames = shown[f"frames of {chat}"].decode()
    assert refused["state"] == "error"
    assert model.keys == {IN_FILE}, "the key in the file is the one that is used"
    # Every attempt was made, and had something to look at.
    for tool in ("shell", "read_file", "nb_run", "write_file", "git_commit"):
        assert f'"toolName":"{tool}"' in frames, frames[-3000:]
    assert "provider_auth" in shown[f"frames of {talk}"].decode()
    assert (guarded.root / "research").exists()
    assert found_anywhere(guarded, model, shown) == []
    assert model.traces, "traces were sent"
    assert not [body for body in model.traces if b"Canary topic" in body or b"environment.txt" in body]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_without_a_sandbox_nothing_is_passed_on(tmp_path: Path) -> None:
    """Where the administrator allows it, programs do see the secrets, after a person gave leave. What they found stays
    in the files that they wrote: not told to the model, not stored, not shown, not committed.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(str(shutil.which("git")))
    leave = "--PostdocApp.allow_unsandboxed=True"
    async with serving(tmp_path, attempts, leave, PATH=str(programs)) as (guarded, model):
        chat = (await guarded.request("POST", "api/chats", {}))["id"]
        await guarded.request("POST", f"api/chats/{chat}/research", {"topic": "Canary topic", "provider": "anthropic"})
        async with live(guarded, chat) as watched:
            asked = await allowed(guarded, chat)
        shown = await everything_shown(guarded, [chat])
        shown["live frames"] = "\n".join(watched).encode()
    assert '"type":"tool_output"' in "".join(watched)
    assert asked >= 1, "a model's command without a sandbox needs leave"
    assert any(b"[secret removed]" in data for data in shown.values()), "it was found, and taken out"
    found = found_anywhere(guarded, model, shown)
    assert found, "the scan sees what programs wrote"
    tree = str(guarded.root / "research" / "canary-topic")
    assert [leak for leak in found if not leak.startswith(tree) or "/.git/" in leak] == []
    assert "it holds a secret" in shown[f"frames of {chat}"].decode(), "and says why it is not committed"


async def allowed(guarded: Guarded, chat: str) -> int:
    """Give leave to everything until the run ends; how often it asked."""
    answered: set[str] = set()
    while (await settled(guarded, chat))["state"] == "waiting":
        events = json.loads((await fetch(guarded, f"postdoc/api/chats/{chat}/events")).split(HEADERS)[0])["events"]
        for event in events:
            if event["type"] in ("approval_request", "question") and (id := event["requestId"]) not in answered:
                answered.add(id)
                given = {"answer": "stop"} if event["type"] == "question" else {"decision": "allow", "scope": "session"}
                await guarded.request("POST", f"api/chats/{chat}/respond", {"requestId": id, **given})
        await asyncio.sleep(0.2)
    return len(answered)


def test_the_scan_sees_every_form(tmp_path: Path) -> None:
    """The scan itself can fail: in a file, in a name, in a git object, across the pages of a database."""
    import sqlite3
    import subprocess

    for value in VALUES:
        for before in range(3):
            coded = base64.b64encode(b"x" * before + value.encode() + b"yz")
            assert leaks(b"<" + coded + b">", "here"), (value, before)
        assert leaks(quote(value, safe="").encode(), "here")
        assert leaks(json.dumps({"key": value}).encode(), "here")
    assert leaks(b"a canary, sk-ant, ghp_ and nothing more", "here") == []
    (tmp_path / "plain.txt").write_text(f"key={IN_FILE}")
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / "file").write_text("x" * 5000 + CANARIES["GITHUB_TOKEN"])
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(repository), "add", "."], check=True)
    subprocess.run(["git", "-C", str(repository), *identity, "commit", "-qm", "one"], check=True)
    (repository / "file").unlink()
    connection = sqlite3.connect(tmp_path / "some.db")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES (?)", ("z" * 8100 + CANARIES["ANTHROPIC_API_KEY"] + "z" * 9000,))
    connection.commit()
    connection.close()
    found = scan(tmp_path)
    for where in ("plain.txt", "objects of", "some.db: t"):
        assert any(where in leak for leak in found), (where, found)


async def test_the_model_that_the_canary_test_uses_speaks_the_api() -> None:
    """The real SDK reads its replies and its failures."""
    from anthropic import AsyncAnthropic, AuthenticationError

    def answer(request: dict[str, Any], key: str) -> Any:
        if request["messages"][-1]["content"] == "fail":
            return failure(401, "authentication_error", f"{key} is wrong")
        return [*said("Looking."), call(1, "shell", command="env")]

    with Model(answer).running() as model:
        async with AsyncAnthropic(api_key="k-1", base_url=model.url, max_retries=0) as client:
            kwargs: Any = {"model": "claude-haiku-5-5", "max_tokens": 9}
            async with client.messages.stream(messages=[{"role": "user", "content": "hello"}], **kwargs) as stream:
                message = await stream.get_final_message()
            with pytest.raises(AuthenticationError, match="k-1 is wrong"):
                await client.messages.create(messages=[{"role": "user", "content": "fail"}], **kwargs)
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert model.keys == {"k-1"}
