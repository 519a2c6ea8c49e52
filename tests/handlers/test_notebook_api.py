"""``api/chats/{id}/notebook`` on a real server: how it is, taken and given back, its kernel and editor at hand."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from jupyterlab_postdoc.notebooks.live import EditorStatus
from tests.agent.support import SANDBOX, lean


@pytest.fixture
def jp_server_config(tmp_path: Path) -> Config:
    lean(tmp_path / "templates" / "lean")
    own = {"template_paths": [str(tmp_path / "templates")], "allow_unsandboxed": not SANDBOX}
    return Config({"ServerApp": {"jpserver_extensions": {"jupyterlab_postdoc": True}}, "PostdocApp": own})


async def studied(http: Any) -> str:
    """A chat with a finished study."""
    chat = str((await http("POST", "api/chats", body={})).json["id"])
    body = {"topic": "A lean study", "template": "lean", "provider": "template"}
    assert (await http("POST", f"api/chats/{chat}/research", body=body)).status == 202
    async with asyncio.timeout(60):
        while (await http("GET", f"api/chats/{chat}")).json["state"] != "finished":
            await asyncio.sleep(0.1)
    return chat


async def test_without_a_project(http: Any) -> None:
    chat = (await http("POST", "api/chats", body={})).json["id"]
    shown = (await http("GET", f"api/chats/{chat}/notebook")).json
    assert shown["sandbox"]["available"] is SANDBOX
    assert {name: shown[name] for name in ("state", "kernel", "viewers", "hand", "holder", "mine", "path")} == {
        "state": "stopped", "kernel": "none", "viewers": 0, "hand": "agent", "holder": "", "mine": False, "path": "",
    }  # fmt: skip
    for action in ("take", "restart", "close", "interrupt"):
        answer = await http("POST", f"api/chats/{chat}/notebook/{action}", body={})
        assert (answer.status, answer.json["code"]) == (404, "not_found"), action
        assert "no notebook yet" in answer.json["error"]
    assert (await http("POST", f"api/chats/{chat}/notebook/give")).status == 202, "the agent has it already"
    for path in ("notebook", "notebook/take"):
        verb = "GET" if path == "notebook" else "POST"
        assert (await http(verb, f"api/chats/nobody/{path}")).status == 404
    room = (await http("POST", "api/messages", body={"agent": "a", "kind": "note", "content": "x", "room": "lab"})).json
    assert room
    answer = await http("POST", "api/chats/room:lab/notebook/take")
    assert (answer.status, answer.json["code"]) == (400, "bad_message")


async def test_taken_shown_and_given_back(http: Any, services: Any, jp_root_dir: Path) -> None:
    chat = await studied(http)
    path = f"api/chats/{chat}/notebook"
    taken = await http("POST", f"{path}/take", headers={"Idempotency-Key": "k1"})
    assert (taken.status, taken.json["hand"], taken.json["working"]) == (202, "person", False)
    assert (await http("POST", f"{path}/take", headers={"Idempotency-Key": "k1"})).json["duplicate"] is True
    shown = (await http("GET", path)).json
    assert (shown["hand"], shown["mine"], shown["running"]) == ("person", True, False)
    assert shown["path"] == (await http("GET", f"api/chats/{chat}")).json["project"]["notebook"]
    assert (await http("GET", f"api/chats/{chat}")).json["notebook"]["display"] == shown["holder"]

    file = jp_root_dir / shown["path"]
    file.write_text(file.read_text().replace("data = [1, 2, 3]", "data = [40, 2]"))
    given = (await http("POST", f"{path}/give")).json
    assert (given["hand"], given["cells"]) == ("agent", {"load": "changed"})
    chat_now = (await http("GET", f"api/chats/{chat}")).json
    assert chat_now["notebook"] is None
    assert chat_now["project"]["commit"] == given["commit"]
    assert (await http("GET", path)).json["hand"] == "agent"


async def test_nothing_is_started_by_looking(http: Any, services: Any) -> None:
    chat = await studied(http)
    for action in ("restart", "interrupt"):
        answer = await http("POST", f"api/chats/{chat}/notebook/{action}", body={"what": "kernel"})
        assert (answer.status, answer.json["code"]) == (409, "busy"), action
        assert answer.json["next"] == "Open the notebook first."
    assert (await http("POST", f"api/chats/{chat}/notebook/close")).json["state"] == "stopped"
    answer = await http("POST", f"api/chats/{chat}/notebook/restart", body={"what": "server"})
    assert (answer.status, answer.json["code"]) == (400, "bad_message")
    assert services.editors.running() == []


@pytest.mark.skipif(not SANDBOX, reason="an editor needs the sandbox")
async def test_an_editor_at_hand(http: Any, services: Any, jp_root_dir: Path) -> None:
    """A real editor: what is typed in it and not saved is in the commit of the give-back."""
    chat = await studied(http)
    path = f"api/chats/{chat}/notebook"
    root = jp_root_dir / (await http("GET", f"api/chats/{chat}")).json["project"]["path"]
    editor = await services.editors.open(root)
    assert (await http("GET", path)).json["state"] == "ready"
    assert (await http("POST", f"{path}/restart", body={"what": "kernel"})).json["kernel"] != "dead"
    assert (await http("POST", f"{path}/interrupt")).status == 200
    await http("POST", f"{path}/take")
    text = (root / "notebook.py").read_text().replace("data = [1, 2, 3]", "data = [40, 2]")
    await editor.replace(text, base=None)
    given = (await http("POST", f"{path}/give")).json
    assert given["cells"] == {"load": "changed"}
    assert "data = [40, 2]" in (root / "notebook.py").read_text()
    again = (await http("POST", f"{path}/restart", body={"what": "editor"})).json
    assert again["state"] == "ready"
    assert services.editors.get(root) is not editor
    assert (await http("POST", f"{path}/close")).json["state"] == "stopped"
    assert services.editors.status(root) != EditorStatus("ready")


async def test_over_the_socket(http: Any, connect: Any) -> None:
    chat = await studied(http)
    client = await connect()
    taken = await client.ask({"type": "notebook.take", "chatId": chat, "id": "t"})
    assert (taken["type"], taken["hand"], taken["working"]) == ("ack", "person", False)
    given = await client.ask({"type": "notebook.give", "chatId": chat, "id": "g"})
    assert (given["type"], given["hand"], given["cells"]) == ("ack", "agent", {})
    again = await client.ask({"type": "notebook.give", "chatId": chat, "id": "g"})
    assert again["duplicate"]
