"""Who gets in: every route, every verb, every way of asking."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.auth.identity import IdentityProvider, User
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from jupyterlab_postdoc.handlers import routes
from jupyterlab_postdoc.handlers.report import AssetsHandler, marimo_files

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
EVIL = "https://evil.example"

PATHS = [
    "ws",
    "api/chats",
    "api/chats/c1",
    "api/chats/c1/messages",
    "api/chats/c1/events",
    "api/chats/c1/research",
    "api/chats/c1/stop",
    "api/chats/c1/respond",
    "api/chats/c1/resume",
    "api/chats/c1/fork",
    "api/chats/c1/publication",
    "api/chats/c1/publication/refresh",
    "api/chats/c1/publication/comments",
    "api/chats/c1/notebook",
    "api/chats/c1/notebook/open",
    "api/chats/c1/notebook/take",
    "api/chats/c1/notebook/restart",
    "api/chats/c1/checkpoints",
    f"api/chats/c1/checkpoints/{'0' * 40}",
    f"api/chats/c1/checkpoints/{'0' * 40}/restore",
    "api/chats/c1/report",
    "api/chats/c1/blobs/1",
    "api/sessions",
    "api/sessions/c1",
    "api/sessions/c1/events",
    "api/messages",
    "api/rooms",
    "api/repos",
    "api/repos/available",
    "api/repos/r1",
    "api/templates",
    "api/personas",
    "api/models",
    "api/health",
    "api/github",
    "api/agents.md",
    "nothing/here",
    "static/page.js",
]

PAGES = ["", "new", "rooms", "rooms/lab", "s/c1", "notebook/c1"]
"""Addresses that a person opens: who is not logged in is sent to the login."""


TICKETS = ["nt/t/api/version", "nt/t/ws", "nt/t/api/kernel/run"]
"""Addresses that want a ticket, whoever asks."""

SHA = "0" * 40
CHANGES = [
    *("messages", "research", "stop", "respond", "resume", "fork", f"checkpoints/{SHA}/restore"),
    *(f"notebook/{verb}" for verb in ("open", "take", "give", "restart", "close", "interrupt")),
]
"""What is posted to a chat."""


def test_the_list_of_paths_covers_every_route():
    import re

    patterns = [(re.compile(route[0] + "$"), route[1]) for route in routes()]
    reached = [next(p for p, _ in patterns if p.match("/postdoc/" + path)) for path in PATHS + PAGES + TICKETS]
    missing = {p.pattern for p, handler in patterns if p not in reached and handler is not AssetsHandler}
    assert not missing


async def test_no_route_answers_without_a_login(http):
    for path in PATHS + TICKETS:
        for verb in VERBS:
            for headers in ({}, {"Authorization": "token wrong"}, {"Authorization": "token "}, {"Origin": EVIL}):
                answer = await http(verb, path, auth=False, headers=dict(headers))
                assert answer.status in (401, 403), (verb, path, headers, answer.status)
                if answer.body:
                    assert answer.json["code"] in ("unauthorized", "forbidden")
        for query in ("?token=", "?token=wrong"):
            assert (await http("GET", path + query, auth=False)).status in (401, 403)


async def test_a_login_is_no_ticket(http):
    for path in [*TICKETS, "nt/t/", "nt/t", "nt/", f"nt/{'a' * 43}/api/version"]:
        for verb in (*VERBS, "OPTIONS"):
            answer = await http(verb, path, headers={"Origin": "null"})
            assert answer.status == 403, (verb, path, answer.status)
            assert answer.headers["Access-Control-Allow-Origin"] == "null"
            assert path.endswith("/") or path == "nt/t" or "Set-Cookie" not in answer.headers


async def test_a_page_sends_to_the_login_and_tells_nothing(http, jp_base_url):
    for path in PAGES:
        for headers in ({}, {"Authorization": "token wrong"}, {"Origin": EVIL}):
            for verb in VERBS:
                answer = await http(verb, path, auth=False, headers=dict(headers))
                if verb in ("GET", "HEAD"):
                    assert answer.status == 302, (verb, path, headers)
                    login = urlsplit(answer.headers["Location"])
                    assert (login.netloc, login.path) == ("", f"{jp_base_url}login")
                    assert parse_qs(login.query)["next"] == [f"{jp_base_url}postdoc/{path}"]
                    assert not answer.body
                else:
                    assert (answer.status, answer.json["code"]) == (403, "unauthorized"), (verb, path, headers)
        assert (await http("OPTIONS", path, auth=False, headers={"Origin": EVIL})).status == 403
        for query in ("?token=", "?token=wrong"):
            assert (await http("GET", path + query, auth=False)).status == 302


async def test_a_preflight_tells_nothing(http):
    for path in PATHS[1:-1]:
        answer = await http("OPTIONS", path, auth=False, headers={"Origin": EVIL})
        assert (answer.status, answer.body) == (200, b"")
        assert not answer.headers.get("Access-Control-Allow-Origin")


async def test_unknown_paths_and_verbs_are_json(http):
    answer = await http("GET", "api/nothing")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    answer = await http("PUT", "api/chats", body={})
    assert (answer.status, answer.json["code"]) == (405, "bad_message")
    assert (await http("GET", "ws")).status == 400


async def test_a_get_has_no_side_effect(http):
    for path in ("research", "stop", "respond", "resume", "fork"):
        assert (await http("GET", f"api/chats/c1/{path}")).status == 405
    assert (await http("GET", "api/messages?room=new")).json == []
    assert (await http("GET", "api/rooms")).json == []


class Browser:
    """What a logged-in browser sends: the login cookie, and the XSRF cookie with its header."""

    def __init__(self, http, listening) -> None:
        self.http = http
        self.cookies: dict[str, str] = {}
        self.origin = f"http://{listening}"

    async def log_in(self) -> None:
        answer = await self.http("GET", "api/rooms")
        for line in answer.headers.get_list("Set-Cookie"):
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        self.cookies["_xsrf"] = "2|7586b241|47c876d965112a2f547c63c95cbc44b1|1402910163"

    def headers(self, *, origin: str | None = "own", xsrf: bool = True, **more: str) -> dict[str, str]:
        made = {"Cookie": "; ".join(f'{k}="{v}"' if " " in v else f"{k}={v}" for k, v in self.cookies.items())}
        if origin is not None:
            made["Origin"] = self.origin if origin == "own" else origin
        if xsrf:
            made["X-XSRFToken"] = self.cookies["_xsrf"]
        return made | more


async def test_a_browser_with_a_cookie(http, listening):
    browser = Browser(http, listening)
    await browser.log_in()

    async def post(**kwargs):
        return (await http("POST", "api/chats", body={}, auth=False, headers=browser.headers(**kwargs))).status

    assert await post() == 201
    assert await post(xsrf=False) == 403
    assert await post(origin=EVIL) == 403
    assert await post(origin="null") == 403
    for verb in ("PATCH", "DELETE"):
        answer = await http(verb, "api/chats/c1", auth=False, headers=browser.headers(xsrf=False))
        assert answer.status == 403
    read = await http("GET", "api/chats", auth=False, headers=browser.headers(xsrf=False))
    assert (read.status, len(read.json)) == (200, 1)
    assert (await http("GET", "api/chats", auth=False, headers=browser.headers(origin=EVIL))).status == 403


async def refused(connect, **kwargs) -> int:
    with pytest.raises(HTTPClientError) as caught:
        await connect(**kwargs)
    return caught.value.code


async def test_sockets_want_an_origin_or_a_token(connect, http, listening):
    browser = Browser(http, listening)
    await browser.log_in()
    own = {"Origin": f"http://{listening}"}
    cookie = browser.headers(origin=None, xsrf=False)

    assert await refused(connect, auth=False) == 403
    assert await refused(connect, auth=False, headers=own) == 403
    assert await refused(connect, auth=False, headers={"Authorization": "token wrong"}) == 403
    assert await refused(connect, auth=False, headers=cookie) == 403
    for origin in (EVIL, "null", f"http://{listening}.evil.example", f"http://evil.example?{listening}", ""):
        assert await refused(connect, auth=False, headers=cookie | {"Origin": origin}) == 403
        assert await refused(connect, headers={"Origin": origin}) == 403
    for headers in ({}, own):
        client = await connect(headers=headers)
        assert (await client.ask({"type": "ping"}))["type"] == "pong"
    client = await connect(auth=False, headers=cookie | own)
    assert (await client.ask({"type": "ping"}))["type"] == "pong"


async def test_a_foreign_host_name_is_refused(http, connect):
    assert (await http("GET", "api/chats", headers={"Host": "evil.example"})).status == 403
    assert await refused(connect, headers={"Host": "evil.example", "Origin": "http://evil.example"}) == 403


async def test_forwarded_headers_are_not_believed(http):
    spoof = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Real-Ip": "10.0.0.1"}
    text = (await http("GET", "api/agents.md", headers=spoof)).body.decode()
    assert "evil" not in text
    assert "https://" not in text


async def test_the_front_end_files_are_public_and_nothing_else_is(http):
    version, root = marimo_files()
    answer = await http("GET", f"assets/{version}/favicon.ico", auth=False)
    assert (answer.status, answer.body) == (200, (root / "favicon.ico").read_bytes())
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "immutable" in answer.headers["Cache-Control"]
    assert "Set-Cookie" not in answer.headers
    assert (await http("HEAD", f"assets/{version}/favicon.ico", auth=False)).status == 200
    for path in ("../__init__.py", "..%2f__init__.py", "%2e%2e/__init__.py", "%2fetc%2fpasswd", "assets/", "assets"):
        answer = await http("GET", f"assets/{version}/{path}", auth=False)
        assert answer.status in (403, 404), path
        assert answer.json["code"] in ("forbidden", "not_found", "unauthorized")
    assert (await http("GET", "assets/0.0.1/favicon.ico", auth=False)).status == 404
    assert (await http("POST", f"assets/{version}/favicon.ico", auth=False, body={})).status in (403, 405)


# --- rights ---


class ReadOnly(Authorizer):
    """Lets everybody read, and nobody do anything. Asynchronous, as an authorizer may be."""

    async def is_authorized(self, handler, user, action, resource):  # noqa: ARG002
        return action == "read" and resource == "postdoc"


class Nobody(Authorizer):
    async def is_authorized(self, handler, user, action, resource):  # noqa: ARG002
        return False


@pytest.fixture
def authorizer(server):
    def use(kind):
        server.web_app.settings["authorizer"] = kind(parent=server, identity_provider=server.identity_provider)

    return use


async def test_who_may_only_read_sees_events_but_commands_nothing(http, connect, authorizer):
    id = (await http("POST", "api/chats", body={})).json["id"]
    before = await connect()
    await before.ask({"type": "subscribe", "chatId": id})
    authorizer(ReadOnly)
    client = await connect()
    assert (await client.ask({"type": "subscribe", "chatId": id}))["type"] == "history"
    commands = [
        {"type": "chat", "content": "x"},
        {"type": "research", "topic": "x"},
        {"type": "stop"},
        {"type": "respond", "requestId": "r", "answer": "x"},
        {"type": "queue.cancel", "messageId": "m"},
        {"type": "session.set", "title": "x"},
        {"type": "resume"},
        {"type": "fork"},
        {"type": "post", "agent": "a", "content": "x"},
    ]
    for socket in (client, before):  # also a socket that was open before the rights changed
        for command in commands:
            answer = await socket.ask(command | {"chatId": id, "id": "m1"})
            assert (answer["type"], answer["code"], answer["id"]) == ("error", "forbidden", "m1"), command
    for path in CHANGES:
        answer = await http("POST", f"api/chats/{id}/{path}", body={"content": "x", "topic": "x"})
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert (await http("POST", "api/chats", body={})).status == 403
    assert (await http("POST", "api/messages", body={"content": "x"})).status == 403
    assert (await http("PATCH", f"api/chats/{id}", body={"title": "x"})).status == 403
    assert (await http("DELETE", f"api/chats/{id}")).status == 403
    assert (await http("GET", f"api/chats/{id}")).json["lastSeq"] == 0


async def test_who_may_not_even_read_gets_nothing(http, connect, authorizer):
    authorizer(Nobody)
    assert await refused(connect) == 403
    for path in [*PATHS[1:-2], PATHS[-1], *PAGES]:
        assert (await http("GET", path)).status in (403, 405), path


class Names(IdentityProvider):
    """People by name: the header X-Name says who it is (a stand-in for a hub)."""

    def get_user(self, handler):
        name = handler.request.headers.get("X-Name")
        return User(name, name, name.title()) if name else None

    def is_token_authenticated(self, handler):
        return handler.request.headers.get("X-Name") is not None


@pytest.fixture
def people(jp_server_config):
    jp_server_config.merge(Config({"ServerApp": {"identity_provider_class": Names}}))


async def test_a_session_of_somebody_else_does_not_exist(people, http, connect):
    ana, bob = {"X-Name": "ana"}, {"X-Name": "bob"}
    id = (await http("POST", "api/chats", body={"title": "secret"}, headers=ana)).json["id"]
    foreign, absent = [], []
    for target, answers in ((id, foreign), ("c_absent", absent)):
        looks = ["", "/messages", "/events", "/events?wait=1", "/report", "/blobs/1", f"/blobs/{'0' * 64}"]
        for path in (*looks, "/notebook", "/checkpoints", f"/checkpoints/{SHA}"):
            answer = await http("GET", f"api/chats/{target}{path}", headers=bob)
            answers.append((path, answer.status, answer.body.replace(target.encode(), b"ID")))
        stream = await http("GET", f"api/chats/{target}/events", headers=bob | {"Accept": "text/event-stream"})
        answers.append(("sse", stream.status, stream.body.replace(target.encode(), b"ID")))
        for path in CHANGES:
            body = {"content": "x", "topic": "x", "requestId": "r", "answer": "x"}
            body = {} if path.startswith(("notebook/", "checkpoints/")) else body
            answer = await http("POST", f"api/chats/{target}/{path}", body=body, headers=bob)
            answers.append((path, answer.status, answer.body.replace(target.encode(), b"ID")))
        for verb in ("PATCH", "DELETE"):
            body = {"title": "x"} if verb == "PATCH" else None
            answer = await http(verb, f"api/chats/{target}", body=body, headers=bob)
            answers.append((verb, answer.status, answer.body.replace(target.encode(), b"ID")))
        client = await connect(headers=bob)
        for frame in ({}, {"after": 0}, {"after": -1}):
            answer = await client.ask({"type": "subscribe", "chatId": target} | frame)
            answers.append((str(frame), answer["code"], answer["error"].replace(target, "ID")))
        for type in ("chat", "stop", "resume", "fork"):
            answer = await client.ask({"type": type, "chatId": target, "content": "x"})
            answers.append((type, answer["code"], answer["error"].replace(target, "ID")))
    assert foreign == absent
    assert all(status in (404, "not_found") for _, status, _ in foreign)
    assert (await http("GET", "api/chats", headers=bob)).json == []
    assert (await http("GET", f"api/chats/{id}", headers=ana)).json["title"] == "secret"


async def test_the_name_of_a_message_is_the_servers_word(people, http):
    said = await http(
        "POST", "api/messages", body={"content": "x", "agent": "a", "by": "root"}, headers={"X-Name": "ana"}
    )
    assert said.json["by"] == "ana"


async def test_a_socket_is_closed_when_its_login_ends(server, connect, http):
    server.web_app.settings["ws_ping_interval"] = 50
    client = await connect()
    assert (await client.ask({"type": "ping"}))["type"] == "pong"
    server.identity_provider.token = "another"  # revoked
    assert await client.closed() == 4401


async def test_an_answer_never_holds_the_token(http, jp_auth_header, listening):
    token = jp_auth_header["Authorization"].split()[1]
    for path in PAGES:
        answer = await http("GET", path)
        assert answer.status in (200, 503)
        assert token.encode() not in answer.body
        assert answer.headers.get("Cache-Control") == "no-store"
    for path in PATHS[1:-1]:
        answer = await http("GET", path)
        assert token.encode() not in answer.body, path
        assert b"Traceback" not in answer.body
        assert answer.headers.get("Cache-Control") == "no-store"
        if answer.status >= 400:
            assert answer.json["error"].endswith("."), json.dumps(answer.json)
