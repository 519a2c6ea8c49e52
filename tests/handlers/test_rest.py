"""The REST surface, on a real server."""

from __future__ import annotations

import asyncio
import json

import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.handlers.report import marimo_files
from jupyterlab_postdoc.protocol import AgentStatus, UserMessage
from jupyterlab_postdoc.store.base import BlobRow


@pytest.fixture
def new_chat(http):
    async def make(**body):
        return (await http("POST", "api/chats", body=body)).json["id"]

    return make


async def test_the_life_of_a_chat(http):
    made = await http("POST", "api/chats", body={"title": "Reversal"})
    assert made.status == 201
    chat = made.json
    assert made.headers["Location"].endswith(f"/api/chats/{chat['id']}")
    assert (chat["title"], chat["kind"], chat["lastSeq"], chat["project"]) == ("Reversal", "chat", 0, None)
    assert (await http("GET", f"api/chats/{chat['id']}")).json == chat
    assert (await http("GET", f"api/sessions/{chat['id']}")).json == chat
    assert [c["id"] for c in (await http("GET", "api/chats")).json] == [chat["id"]]
    changed = await http("PATCH", f"api/chats/{chat['id']}", body={"title": "Momentum", "version": chat["version"]})
    assert (changed.status, changed.json["title"]) == (200, "Momentum")
    lost = await http("PATCH", f"api/chats/{chat['id']}", body={"title": "Other", "version": chat["version"]})
    assert (lost.status, lost.json["code"]) == (409, "version_conflict")
    gone = await http("DELETE", f"api/sessions/{chat['id']}")
    assert (gone.status, gone.body) == (204, b"")
    absent = await http("GET", f"api/chats/{chat['id']}")
    assert (absent.status, absent.json["code"]) == (404, "not_found")
    assert (await http("DELETE", f"api/chats/{chat['id']}")).status == 404


async def test_a_repeated_request_is_done_once(http, new_chat):
    key = {"Idempotency-Key": "k1"}
    first = await http("POST", "api/chats", body={"title": "a"}, headers=key)
    again = await http("POST", "api/chats", body={"title": "a"}, headers=key)
    assert again.json == first.json
    assert len((await http("GET", "api/chats")).json) == 1
    id = first.json["id"]
    one = await http("POST", f"api/chats/{id}/messages", body={"content": "x"}, headers={"Idempotency-Key": "m1"})
    two = await http("POST", f"api/chats/{id}/messages", body={"content": "x"}, headers={"Idempotency-Key": "m1"})
    assert (one.status, one.json["id"], one.json["duplicate"]) == (202, "m1", False)
    assert (two.json["seq"], two.json["duplicate"]) == (one.json["seq"], True)
    other = await http("POST", f"api/chats/{id}/messages", body={"content": "y"}, headers={"Idempotency-Key": "m1"})
    assert (other.status, other.json["code"]) == (409, "id_conflict")


async def test_free_chat_without_a_model_says_so(http, new_chat):
    id = await new_chat()
    await http("POST", f"api/chats/{id}/messages", body={"content": "hello"})
    for _ in range(100):
        events = (await http("GET", f"api/chats/{id}/messages")).json
        if events[-1]["type"] == "session_state" and events[-1]["status"] == "error":
            break
        await asyncio.sleep(0.02)
    types = [event["type"] for event in events]
    assert types[0] == "user_message"
    assert "assistant_message" not in types
    error = next(event for event in events if event["type"] == "error")
    assert error["code"] == "no_model"
    assert error["next"]


BAD = [
    ("POST", "api/chats", b"{", 400, "bad_json"),
    ("POST", "api/chats", b"[]", 400, "bad_message"),
    ("POST", "api/chats", b'{"title":7}', 400, "bad_message"),
    ("POST", "api/chats", b'{"title":""}', 400, "bad_message"),
    ("POST", "api/chats", b"[" * 500_000, 400, "bad_message"),
    ("POST", "api/chats", b"{}" + b" " * (1 << 20), 413, "too_large"),
    ("POST", "api/chats", b'{"persona":"nobody"}', 404, "not_found"),
    ("POST", "api/chats/ID/messages", b"{}", 400, "bad_message"),
    ("POST", "api/chats/ID/messages", b'{"content":["x"]}', 400, "bad_message"),
    ("POST", "api/chats/ID/messages", json.dumps({"content": "x" * 200_001}).encode(), 413, "too_large"),
    ("POST", "api/chats/ID/research", b"{}", 400, "bad_message"),
    ("POST", "api/chats/ID/research", b'{"topic":"x","repo_name":"../x"}', 400, "bad_message"),
    ("POST", "api/chats/ID/stop", b'{"how":"softly"}', 400, "bad_message"),
    ("POST", "api/chats/ID/respond", b'{"requestId":"r9","answer":"x"}', 404, "not_found"),
    ("POST", "api/chats/ID/nothing", b"{}", 404, "not_found"),
    ("POST", "api/chats/absent/messages", b'{"content":"x"}', 404, "not_found"),
    ("PATCH", "api/chats/ID", b'{"archived":"yes"}', 400, "bad_message"),
    ("GET", "api/chats?limit=-1", None, 400, "bad_message"),
    ("GET", "api/chats?limit=0", None, 400, "bad_message"),
    ("GET", "api/chats?limit=99999", None, 400, "bad_message"),
    ("GET", "api/chats?before=yesterday", None, 400, "bad_message"),
    ("GET", "api/chats?archived=perhaps", None, 400, "bad_message"),
    ("GET", "api/chats/ID/events?after=abc", None, 400, "bad_message"),
    ("GET", "api/chats/ID/events?after=-5", None, 400, "bad_message"),
    ("GET", "api/chats/ID/events?after=1e3", None, 400, "bad_message"),
    ("GET", "api/chats/ID/events?wait=soon", None, 400, "bad_message"),
    ("GET", "api/chats/ID/messages?limit=%00", None, 400, "bad_message"),
    ("GET", "api/chats/ID/messages?before=x", None, 400, "bad_message"),
    ("GET", "api/chats/ID/messages?before=9&after=2", None, 400, "bad_message"),
    ("GET", "api/chats/%2e%2e%2fID", None, 404, "not_found"),
    ("GET", "api/chats/ID/report", None, 404, "not_found"),
    ("GET", "api/chats/ID/blobs/1", None, 404, "not_found"),
    ("GET", f"api/chats/ID/blobs/{'0' * 64}", None, 404, "not_found"),
    ("GET", "api/chats/ID/blobs/..", None, 404, "not_found"),
    ("POST", "api/messages", b"{}", 400, "bad_message"),
    ("POST", "api/messages", b'{"content":"x","room":""}', 400, "bad_message"),
    ("POST", "api/messages", b'{"content":"x","room":"a\\u0000b"}', 400, "bad_message"),
    ("POST", "api/messages", b'{"content":"x","room":"../etc"}', 400, "bad_message"),
    ("POST", "api/messages", json.dumps({"content": "x", "room": "r" * 60}).encode(), 400, "bad_message"),
    ("GET", "api/messages?after_id=x", None, 400, "bad_message"),
]


async def test_older_messages_page_back_from_a_seq(http, new_chat, services):
    id = await new_chat()
    await services.log.append(id, *(AgentStatus(message=str(i)) for i in range(1, 300)))
    await services.log.append(id, UserMessage(id="m", content="x", by="a"))

    async def seqs(query):
        answer = await http("GET", f"api/chats/{id}/messages?{query}")
        assert answer.status == 200, answer.body
        return [event["seq"] for event in answer.json]

    assert await seqs("before=250") == list(range(50, 250))
    assert await seqs("before=50&limit=20") == list(range(30, 50))
    assert await seqs("before=3") == [1, 2]
    assert await seqs("before=1") == await seqs("before=0") == []
    assert await seqs("before=9999&limit=2") == [299, 300]
    assert await seqs("before=9999&limit=2&types=agent_status,result") == [298, 299]
    assert await seqs("after=298") == [299, 300]
    assert (await http("GET", "api/chats/c_absent/messages?before=9")).status == 404


async def test_bad_requests_get_a_code_and_a_sentence(http, new_chat):
    id = await new_chat()
    for verb, path, raw, status, code in BAD:
        answer = await http(verb, path.replace("ID", id), raw=raw)
        assert (answer.status, answer.json["code"]) == (status, code), (verb, path, answer.body)
        assert answer.json["error"].endswith((".", ".'", "?")), answer.body
        assert set(answer.json) >= {"code", "error", "next", "retryable"}
        assert len(answer.body) < 3000
    assert (await http("GET", f"api/chats/{id}")).json["lastSeq"] == 0


async def test_a_wrong_field_is_named(http):
    answer = await http("POST", "api/chats", body={"title": 7})
    assert "`title`" in answer.json["error"]


async def test_system_a_rooms(http):
    said = await http("POST", "api/messages", body={"agent": "codex", "kind": "status", "content": "1", "room": "lab"})
    assert said.status == 201
    assert (said.json["id"], said.json["room"], said.json["agent"], said.json["kind"]) == (1, "lab", "codex", "status")
    assert said.json["ts"].endswith("Z")
    for i in range(2, 6):
        await http("POST", "api/messages", body={"agent": "codex", "kind": "note", "content": str(i), "room": "lab"})
    await http("POST", "api/messages", body={"agent": "a", "content": "elsewhere"})

    async def ids(query):
        return [message["id"] for message in (await http("GET", "api/messages?" + query)).json]

    assert await ids("room=lab") == [1, 2, 3, 4, 5]
    assert await ids("room=lab&limit=2") == [4, 5]
    assert await ids("room=lab&after_id=3") == [4, 5]
    assert await ids("room=lab&after_id=0&limit=2") == [1, 2]
    assert await ids("room=lab&after_id=5") == []
    assert await ids("room=nobody") == []
    assert {room["room"] for room in (await http("GET", "api/rooms")).json} == {"lab", "general"}
    twice = {"agent": "a", "content": "once", "room": "lab", "id": "p1"}
    first, again = [await http("POST", "api/messages", body=twice) for _ in range(2)]
    assert (first.status, again.status) == (201, 200)
    assert (again.json["id"], again.json["duplicate"]) == (first.json["id"], True)


async def test_pages_of_the_log(http, services, new_chat):
    id = await new_chat()
    await services.log.append(id, *(protocol.AgentStatus(message=str(i)) for i in range(25)))
    seen, after = [], 0
    while True:
        page = (await http("GET", f"api/chats/{id}/events?after={after}&limit=10")).json
        seen += [event["seq"] for event in page["events"]]
        after = seen[-1]
        if not page["more"]:
            break
    assert seen == list(range(1, 26))
    some = (await http("GET", f"api/chats/{id}/events?types=session_state")).json
    assert some == {"events": [], "more": False}


async def test_messages_leave_partial_text_out_and_events_do_not(http, services, new_chat):
    id = await new_chat()
    stream = services.log.text(id, None, "i1")
    await stream.write("Hel")
    await stream.flush()
    assert [event["type"] for event in (await http("GET", f"api/chats/{id}/events")).json["events"]] == ["token"]
    assert (await http("GET", f"api/chats/{id}/messages")).json == []


async def test_rest_and_socket_show_the_same_object(http, services, new_chat, connect):
    id = await new_chat()
    await services.log.append(id, protocol.AgentStatus(message="x"))
    (paged,) = (await http("GET", f"api/chats/{id}/events")).json["events"]
    (final,) = (await http("GET", f"api/chats/{id}/messages")).json
    history = await (await connect()).ask({"type": "subscribe", "chatId": id})
    assert paged == final == history["messages"][0]


async def test_what_was_cut_can_be_fetched_whole(http, services, new_chat, connect):
    id = await new_chat()
    text = "\x01" * 150_000
    (event,) = await services.log.append(id, protocol.AssistantMessage(itemId="i1", content=text))
    history = await (await connect()).ask({"type": "subscribe", "chatId": id})
    cut = history["messages"][0]
    assert cut["truncated"]
    whole = await http("GET", cut["blob"])
    assert whole.json["content"] == text
    assert whole.json["seq"] == event.seq
    assert "attachment" in whole.headers["Content-Disposition"]
    assert whole.headers["Content-Security-Policy"].startswith("sandbox")


async def test_choices_and_health(http):
    assert isinstance((await http("GET", "api/templates")).json, list)
    assert any(persona["name"] for persona in (await http("GET", "api/personas")).json)
    assert (await http("GET", "api/models")).json[0]["id"] == "template"
    health = (await http("GET", "api/health")).json
    assert health["parts"]["store"]["ok"] is True
    for part in health["parts"].values():
        assert part["ok"] or part["next"]


async def test_the_quick_start_names_this_server_and_works(http, listening, jp_base_url):
    answer = await http("GET", "api/agents.md")
    assert answer.headers["Content-Type"].startswith("text/markdown")
    text = answer.body.decode()
    assert f"http://{listening}{jp_base_url}postdoc/" in text
    assert f"ws://{listening}{jp_base_url}postdoc/ws" in text
    assert "{" not in text.replace('{"', "").replace("{id", "")


# --- the report ---


@pytest.fixture
def report(services, new_chat, jp_root_dir):
    """A chat whose project has a report with this HTML; returns its id and the file."""

    async def make(html: str):
        id = await new_chat()
        file = jp_root_dir / "research" / "r1" / "reports" / "report.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html)
        project = {"repo": "r1", "path": "research/r1", "report": "research/r1/reports/report.html"}

        async def unit(tx):
            await tx.update_session(id, meta={"project": project})

        await services.log.write(unit)
        return id, file

    return make


CDN = "https://cdn.example.net/npm/@marimo-team/frontend@0.25.2/dist"


async def test_a_report_runs_without_rights_and_without_internet(http, report, listening, jp_base_url):
    html = (
        f'<!DOCTYPE html><html><head lang="en"><script src="{CDN}/a.js"></script></head><body>{CDN}/b.css</body></html>'
    )
    id, _ = await report(html)
    answer = await http("GET", f"api/chats/{id}/report")
    text = answer.body.decode()
    version, _ = marimo_files()
    assets = f"{jp_base_url}postdoc/assets/{version}"
    assert "cdn.example.net" not in text
    assert f'src="{assets}/a.js"' in text
    assert text.index("localStorage") < text.index("a.js")
    assert answer.headers["Content-Type"].startswith("text/html")
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["sandbox"] == "allow-popups allow-popups-to-escape-sandbox"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == f"http://{listening}{assets}/ data: blob:"
    assert policy["frame-ancestors"] == "'self'"
    assert "allow-same-origin" not in answer.headers["Content-Security-Policy"]


async def test_a_report_cannot_lead_out_of_the_root(http, report, tmp_path, jp_root_dir):
    id, file = await report("<html></html>")
    secret = tmp_path / "secret.html"
    secret.write_text("secret")
    file.unlink()
    assert (await http("GET", f"api/chats/{id}/report")).status == 404
    file.symlink_to(secret)
    answer = await http("GET", f"api/chats/{id}/report")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert str(tmp_path) not in answer.body.decode()


class TestAtTheRoot:
    """The same under ``/``."""

    @pytest.fixture
    def jp_base_url(self):
        return "/"

    async def test_routes_and_addresses(self, http, report, listening):
        assert (await http("GET", "api/chats")).json == []
        assert f"http://{listening}/postdoc/" in (await http("GET", "api/agents.md")).body.decode()
        id, _ = await report(f"<html><head></head>{CDN}/a.js</html>")
        assert "/postdoc/assets/" in (await http("GET", f"api/chats/{id}/report")).body.decode()


class TestUnderAHub:
    """The same under ``/user/ana/``."""

    @pytest.fixture
    def jp_base_url(self):
        return "/user/ana/"

    async def test_routes_and_addresses(self, http, connect, listening):
        made = await http("POST", "api/chats", body={})
        assert made.headers["Location"] == f"/user/ana/postdoc/api/chats/{made.json['id']}"
        assert (await (await connect()).ask({"type": "ping"}))["type"] == "pong"
        assert f"http://{listening}/user/ana/postdoc/" in (await http("GET", "api/agents.md")).body.decode()


async def test_while_the_server_starts_and_when_its_start_failed(http, server):
    from jupyterlab_postdoc.errors import PostdocError

    services = server.web_app.settings.pop("postdoc")
    answer = await http("GET", "api/chats")
    assert (answer.status, answer.json["code"], answer.json["retryable"]) == (503, "capacity", True)
    server.web_app.settings["postdoc_error"] = PostdocError("storage_full", "The disk is full.", next="Make room.")
    answer = await http("GET", "api/chats")
    assert (answer.status, answer.json["code"], answer.json["next"]) == (507, "storage_full", "Make room.")
    server.web_app.settings["postdoc"] = services


async def test_a_picture_is_served_as_one_and_never_runs(http, new_chat, services):
    id, other = await new_chat(), await new_chat()
    for media_type, data in (("image/png", b"\x89PNG\r\n\x1a\n0000"), ("image/svg+xml", b"<svg onload=alert(1)>")):
        hash = await services.log.store.write_blob(data)
        row = BlobRow(hash=hash, session=id, media_type=media_type, size=len(data))
        await services.log.write(lambda tx, row=row: tx.put_blob(row))
        answer = await http("GET", f"api/chats/{id}/blobs/{hash}")
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, media_type, data)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert (await http("GET", f"api/chats/{other}/blobs/{hash}")).status == 404
