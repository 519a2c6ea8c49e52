"""``api/repos`` on a real server: registered by address, because no GitHub is connected here."""

from __future__ import annotations

import pytest

from tests.agent.repos import foreign


@pytest.fixture
def owls(jp_root_dir):
    return foreign(jp_root_dir / "code" / "owls", {"a.txt": "a\n"}, branch="trunk")


async def test_the_life_of_a_registration(http, owls):
    assert (await http("GET", "api/repos")).json == []
    made = await http("POST", "api/repos", body={"repository": owls.as_uri()})
    assert made.status == 201
    shown = made.json
    assert made.headers["Location"].endswith(f"/api/repos/{shown['id']}")
    assert {"id", "name", "host", "url", "webUrl", "defaultBranch", "private", "createdAt", "sessions"} <= shown.keys()
    assert (shown["name"], shown["host"], shown["webUrl"]) == ("code/owls", "", None)
    assert (shown["defaultBranch"], shown["private"], shown["sessions"]) == ("trunk", True, 0)
    again = await http("POST", "api/repos", body={"repository": f"{owls.as_uri()}/"})
    assert (again.status, again.json["id"]) == (200, shown["id"])
    assert (await http("GET", f"api/repos/{shown['id']}")).json == shown
    assert (await http("GET", "api/repos/")).json == [shown]

    chat = (await http("POST", "api/chats", body={"repository": "code/owls", "title": "Owls"})).json
    same = (await http("POST", "api/chats", body={"repository": shown["id"]})).json
    assert chat["id"] != same["id"]
    assert (await http("GET", f"api/repos/{shown['id']}")).json["sessions"] == 2

    gone = await http("DELETE", f"api/repos/{shown['id']}")
    assert (gone.status, gone.body) == (204, b"")
    assert (await http("DELETE", f"api/repos/{shown['id']}")).status == 404
    assert (await http("GET", f"api/repos/{shown['id']}")).json["code"] == "not_found"
    assert (await http("GET", f"api/chats/{chat['id']}")).json["title"] == "Owls"
    assert (owls / "a.txt").exists()


async def test_what_cannot_be_registered(http, jp_root_dir, tmp_path):
    cases = [
        ({}, 400, "bad_message"),
        ({"repository": ""}, 400, "bad_message"),
        ({"repository": "git@github.com:ana/owls.git"}, 400, "bad_message"),
        ({"repository": "file:///etc"}, 403, "forbidden"),
        ({"repository": (jp_root_dir / "none").as_uri()}, 404, "not_found"),
        ({"repository": "ana/owls"}, 502, "github_auth"),
    ]
    for body, status, code in cases:
        answer = await http("POST", "api/repos", body=body)
        assert (answer.status, answer.json["code"]) == (status, code), body
        assert answer.json["error"]
        assert answer.json["next"] or code == "bad_message"
    plain = jp_root_dir / "plain"
    plain.mkdir()
    answer = await http("POST", "api/repos", body={"repository": plain.as_uri()})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert "no repository at this address" in answer.json["error"]
    assert (await http("GET", "api/repos")).json == []


async def test_sessions_name_only_what_is_there(http):
    answer = await http("POST", "api/chats", body={"repository": "repo_none"})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    chat = (await http("POST", "api/chats", body={})).json["id"]
    answer = await http("POST", f"api/chats/{chat}/research", body={"topic": "Owls", "repository": "repo_none"})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert (await http("GET", f"api/chats/{chat}")).json["lastSeq"] == 0


async def test_those_of_github_need_github(http):
    answer = await http("GET", "api/repos/available?query=owl")
    assert (answer.status, answer.json["code"]) == (502, "github_auth")
    assert "Connect GitHub" in answer.json["next"]
