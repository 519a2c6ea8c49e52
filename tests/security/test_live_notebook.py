"""Who gets how far through the proxy to a notebook's editor, and what a hostile output gets in the browser."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from jupyter_server.auth.identity import IdentityProvider, User
from tests.handlers.conftest import connect, http, jp_server_config, listening, server, services  # noqa: F401
from tests.handlers.live_client import NULL, Frame, fetch, hold, make_session, operation, policy_of
from tests.handlers.plain_editor import PlainEditors, marimo
from tornado import web
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from jupyterlab_postdoc.handlers.live import access, filter
from jupyterlab_postdoc.handlers.live.tickets import IDLE_S, LIFE_S, MOST, Tickets, tickets_of

EVIL = "https://evil.example"
LOOKED_AT = ["health", "favicon.ico", "api/version", "api/status/connections"]
CHANGING = [
    "api/kernel/run",
    "api/kernel/interrupt",
    "api/kernel/save",
    "api/kernel/takeover",
    "api/kernel/instantiate",
    "api/kernel/set_ui_element_value",
    "api/kernel/function_call",
    "api/kernel/execute",
    "api/kernel/shutdown",
    "api/kernel/restart_session",
    "api/document/transaction",
    "api/files/update",
    "api/packages/add",
    "api/secrets/create",
    "api/export/html",
]
NOT_EVEN_EDITORS = [
    "api/kernel/execute",
    "api/kernel/shutdown",
    "api/kernel/restart_session",
    "api/kernel/rename",
    "api/kernel/save_user_config",
    "api/kernel/install_missing_packages",
    "api/packages/add",
    "api/packages/remove",
    "api/packages/sync",
    "api/secrets/create",
    "api/home/shutdown_session",
    "api/ai/chat",
    "api/something/new",
]
HIDDEN = ["auth/token", "auth/login", "AUTH/token", "api/marimo/v1/notebooks", "terminal/ws", "api/lsp/restart"]


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    with marimo(tmp_path_factory.mktemp("marimo")) as made:
        yield made


@pytest.fixture
def editors(services, editor):  # noqa: F811
    services.editors = PlainEditors(editor, services.editors)
    return services.editors


@pytest.fixture
def opened(editors, services, http, listening, jp_root_dir, jp_auth_header):  # noqa: F811
    """``await opened(mode)`` → Frame, of a session that is made at the first call (its id: ``opened.id``)."""

    async def make(mode: str = "watch") -> Frame:
        if not hasattr(make, "id"):
            make.id = await make_session(services, http, jp_root_dir)
        await hold(services, make.id, "local" if mode == "edit" else None)
        answer = await http("POST", f"api/chats/{make.id}/notebook/open", body={"mode": mode})
        assert answer.status == 200, answer.body
        return await Frame.enter(f"http://{listening}", answer.json, jp_auth_header)

    return make


async def refused(frame: Frame, **headers: str) -> int:
    with pytest.raises(HTTPClientError) as caught:
        (await frame.socket(**headers)).close()
    return caught.value.code


# --- tickets ---


async def test_nothing_goes_without_the_ticket(opened, jp_auth_header):
    frame = await opened("edit")
    base = frame.base.replace(frame.ticket, "{}")
    for wrong in (
        "",
        "x",
        "a" * 43,
        frame.ticket[:-1],
        frame.ticket + "a",
        frame.ticket.swapcase(),
        "%00",
        "..",
        "[ticket]",
    ):
        for path in (*LOOKED_AT, *CHANGING, *HIDDEN, "ws"):
            for method in ("GET", "POST", "OPTIONS"):
                for headers in (NULL, NULL | jp_auth_header):
                    answer = await fetch(base.format(wrong) + path, method, headers=headers)
                    assert answer.status == 403, (wrong, method, path, answer.status)
                    assert answer.headers["Access-Control-Allow-Origin"] == "null"


async def test_the_first_secret_opens_nothing_but_the_outer_page(opened, jp_auth_header):
    frame = await opened("edit")
    for path in (*LOOKED_AT, *CHANGING, *HIDDEN, "ws"):
        for method in ("GET", "POST", "OPTIONS", "HEAD"):
            answer = await fetch(f"{frame.url.partition('?')[0]}{path}", method, headers=NULL | jp_auth_header)
            expected = 200 if path == "health" and method in ("GET", "HEAD") else 403
            assert answer.status == expected, (method, path)
    assert (await fetch(f"{frame.url.partition('?')[0]}health")).status == 403
    for method in ("POST", "PUT", "DELETE"):
        assert (await fetch(frame.url, method, headers=NULL | jp_auth_header)).status == 403


async def test_the_outer_page_wants_the_login_too(opened, jp_auth_header, jp_base_url):
    frame = await opened()
    outer = frame.url.partition("?")[0]
    for page in (frame.url, outer, outer[:-1], f"{outer}?file=/etc/passwd"):
        for headers in ({}, {"Authorization": "token wrong"}, NULL):
            answer = await fetch(page, headers=headers)
            assert answer.status == 302
            assert answer.headers["Location"].startswith(f"{jp_base_url}login?next=")
            for secret in (frame.secret, frame.ticket):
                assert secret not in answer.headers["Location"]
            framed = await fetch(page, headers=headers | {"Sec-Fetch-Dest": "iframe"})
            assert framed.status == 403
            assert frame.ticket.encode() not in framed.body
            assert b'"event":"expired"' in framed.body
        answer = await fetch(page, headers=jp_auth_header)
        assert answer.status == 200


class Names(IdentityProvider):
    """People by name: the header X-Name says who it is (a stand-in for a hub), unless they are ``out``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.out = set()
        self.down = False

    def get_user(self, handler):
        if self.down:
            raise web.HTTPError(503, "the hub is down")
        name = handler.request.headers.get("X-Name")
        return User(name, name, name.title()) if name and name not in self.out else None

    def is_token_authenticated(self, handler):
        return handler.request.headers.get("X-Name") is not None


@pytest.fixture
def people(jp_server_config):  # noqa: F811
    jp_server_config.merge(Config({"ServerApp": {"identity_provider_class": Names}}))


async def test_somebody_elses_ticket_opens_no_page(people, editors, services, http, listening, jp_root_dir):  # noqa: F811
    ana, bob = {"X-Name": "ana"}, {"X-Name": "bob"}
    id = await make_session(services, http, jp_root_dir, headers=ana)
    address = f"api/chats/{id}/notebook/open"
    assert (await http("POST", address, body={}, headers=bob)).status == 404
    frame = await Frame.enter(f"http://{listening}", (await http("POST", address, body={}, headers=ana)).json, ana)
    assert (await fetch(frame.url, headers=ana)).status == 200
    assert (await fetch(frame.url, headers=bob)).status == 403
    assert (await fetch(frame.url)).status == 302
    await hold(services, id, "ana")
    assert (await http("POST", address, body={"mode": "edit"}, headers=bob)).status == 404
    await hold(services, id, "bob")  # in whose hand it is counts, not whose session it is
    assert (await http("POST", address, body={"mode": "edit"}, headers=ana)).status == 403


async def closed(socket) -> int | None:
    """The code with which a socket closes."""
    async with asyncio.timeout(4):
        while await socket.read_message() is not None:
            pass
    socket.close()
    return socket.close_code


async def test_a_logout_ends_the_tickets(opened, http, jp_base_url, listening):  # noqa: F811
    browser = {"Cookie": (await http("GET", "")).headers["Set-Cookie"].partition(";")[0]}
    frame = await opened("edit")
    socket = await frame.socket("s_logout")
    await operation(socket, "kernel-ready")
    logout = f"http://{listening}{jp_base_url}logout"
    stranger = {"Cookie": "username-localhost=forged"}
    for headers in ({}, stranger, {"Authorization": "token wrong"}):
        answer = await fetch(logout, headers=headers)
        assert answer.status == 200
        assert (await frame.get("health")).status == 200
    assert (await fetch(logout, "POST", body={}, headers=browser)).status in (403, 405)
    assert (await frame.get("health")).status == 200

    answer = await fetch(logout, headers=browser)
    assert (answer.status, b"logged out" in answer.body) == (200, True)
    assert any("expires=" in cookie for cookie in answer.headers.get_list("Set-Cookie"))
    assert (await frame.get("health")).status == (await frame.post("api/kernel/run")).status == 403
    assert await closed(socket) == 4403
    assert await refused(frame) == 403


@pytest.fixture
def opened_by(people, editors, services, http, listening, jp_root_dir):  # noqa: F811
    """``await opened_by(name)`` → Frame of this person's own session."""

    async def make(name: str) -> Frame:
        who = {"X-Name": name}
        id = await make_session(services, http, jp_root_dir, name, headers=who)
        opened = (await http("POST", f"api/chats/{id}/notebook/open", body={}, headers=who)).json
        return await Frame.enter(f"http://{listening}", opened, who)

    return make


async def test_a_logout_is_that_of_one_person(opened_by, listening, jp_base_url):  # noqa: F811
    frames = [await opened_by("ana"), await opened_by("bob")]
    assert (await fetch(f"http://{listening}{jp_base_url}logout", headers={"X-Name": "ana"})).status == 200
    assert [(await frame.get("health")).status for frame in frames] == [403, 200]


async def test_a_login_that_ends_elsewhere_ends_the_tickets(opened_by, server, monkeypatch):  # noqa: F811
    monkeypatch.setattr(access, "LOGIN_S", 0.5)
    frame, provider = await opened_by("ana"), server.identity_provider
    socket = await frame.socket("s_logins", "&kiosk=true")
    provider.down = True  # one that cannot say sends nobody away
    await asyncio.sleep(2)
    assert (await frame.get("health")).status == 200
    provider.down = False
    provider.out.add("ana")
    assert await closed(socket) == 4403
    assert (await frame.get("health")).status == 403


async def test_a_ticket_ends(opened, server, jp_auth_header):  # noqa: F811
    tickets = tickets_of(server.web_app.settings)
    frames = [await opened() for _ in range(3)]
    idle, old, revoked = (tickets.find(frame.secret) for frame in frames)
    idle.used -= IDLE_S + 1
    old.made -= LIFE_S + 1
    tickets.end(revoked)
    for frame in frames:
        assert (await frame.get("health")).status == 403
        assert await refused(frame) == 403
        assert (await fetch(frame.url, headers=jp_auth_header)).status == 403
    assert len(tickets) == 0


def test_a_user_holds_few_tickets_of_a_session(tmp_path):
    async def holds() -> bool:
        return True

    tickets = Tickets()
    made = [tickets.issue("ana", "s", "watch", tmp_path, holds) for _ in range(MOST + 5)]
    other = tickets.issue("bob", "s", "watch", tmp_path, holds)
    assert [tickets.find(t.secret) for t in made] == [None] * 5 + made[5:]
    assert tickets.find(other.secret) is other
    assert len({t.secret for t in made}) == len(made)


async def test_who_gives_the_notebook_back_edits_no_more(opened, services):  # noqa: F811
    frame = await opened("edit")
    token = {"Marimo-Session-Id": "s_a", "Marimo-Server-Token": "x"}
    assert (await frame.post("api/kernel/run", {}, **token)).status == 401  # marimo's own answer: it went through
    await hold(services, opened.id, "bob")
    assert (await frame.post("api/kernel/run", {}, **token)).status == 403
    await hold(services, opened.id, "local")
    assert (await frame.get("health")).status == 403  # a ticket that has ended stays so


# --- what goes through ---


async def test_a_watcher_changes_nothing(opened):
    frame = await opened()
    headers = {"Marimo-Session-Id": "s_a", "Marimo-Server-Token": "x"}
    for path in CHANGING:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await fetch(frame.base + path, method, body=b"{}", headers=NULL | headers)
            assert (answer.status, answer.json["code"]) == (403, "forbidden"), (method, path)
    for path in ("sse", "ws_sync", "api/sessions", "api/environment", "api/files/download", "api/packages/list"):
        assert (await frame.get(path)).status in (403, 404), path
    assert (await frame.post("api/datasources/discover", {})).json == {"success": True}


async def test_a_watcher_is_a_reader_whatever_it_asks_for(opened):
    edit = await opened("edit")
    await operation(socket := await edit.socket("s_main01"), "kernel-ready")
    watch = await opened()
    for query in ("", "&kiosk=false", "&kiosk=", "&Kiosk=false&kiosk=false", "&file=/etc/passwd", "&%6biosk=false"):
        watching = await watch.socket("s_main01" if not query else "s_other1", query)
        assert (await operation(watching, "kernel-ready"))["kiosk"] is True, query
        watching.close()
    socket.close()


async def test_what_nobody_may(opened, editor):
    for mode in ("watch", "edit"):
        frame = await opened(mode)
        for path in HIDDEN:
            for method in ("GET", "POST", "HEAD", "DELETE"):
                assert (await frame.get(path, method)).status == 404, path
        for path in NOT_EVEN_EDITORS:
            assert (await frame.post(path, {})).status == 403, path
        for path in ("ws_sync", "terminal/ws", "lsp/pylsp", "sse"):
            assert (await frame.get(path)).status in (403, 404)
        frame.base += "lsp/"
        assert await refused(frame) == 404


async def test_paths_that_marimo_might_read_otherwise(opened):
    frame = await opened("edit")
    for path in (
        *("auth%2ftoken", "auth%5ctoken", "%61uth/token", "./auth/token", "x/../auth/token", "assets/../auth/token"),
        *("assets/%2e%2e/auth/token", "assets//../auth/token", "/auth/token", "//auth/token", "auth/token%00"),
        *("auth/token/", "auth//token", "api/%6darimo/v1/notebooks", "api/./marimo/v1", "assets/%252e%252e/auth/token"),
        *("public/..%2f..%2fetc/passwd", "public/../../etc/passwd", "auth/token;x", "\\auth\\token", "%c0%afauth"),
        *("public/%0d%0aX:%20y", "@file/../auth/token"),
    ):
        answer = await frame.get(path.replace("\\", "%5C"))
        assert answer.status in (403, 404), (path, answer.status)
        assert b"token" not in answer.body.replace(b"auth/token", b"")


def test_only_clean_paths_are_judged():
    assert filter.clean("assets/a%20b.js") == "assets/a b.js"
    assert filter.clean("") == ""
    for raw in ("a//b", "../a", "a/..", "a/./b", "a%2fb", "a%5Cb", "%ff", "a%00", "a%0a", "%2525"):
        assert filter.clean(raw) is None, raw
    assert filter.judge("edit", "POST", "api/kernel/run").status == 0
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "CONNECT", ""):
        assert filter.judge("edit", method, "api/kernel/run").status == 403
    assert filter.judge("watch", "POST", "").status == 403


# --- origins, credentials, logs ---


async def test_other_origins_are_refused(opened, jp_auth_header):
    frame = await opened("edit")
    for origin in (EVIL, frame.origin, "http://localhost", "null.evil.example", "file://"):
        headers = {"Origin": origin}
        assert (await fetch(frame.base + "health", headers=headers)).status == 403
        assert (await fetch(frame.url, headers=headers | jp_auth_header)).status == 403
        assert (await fetch(frame.base + "api/kernel/run", "OPTIONS", headers=headers)).status == 403
        assert (await fetch(frame.base + "api/kernel/run", "POST", body={}, headers=headers)).status == 403
        assert await refused(frame, Origin=origin) == 403
        assert await refused(frame, Origin=origin, **jp_auth_header) == 403
    assert await refused(frame, Origin="") == 403
    assert (await fetch(frame.base + "api/kernel/run", "POST", body={})).status == 403
    assert (await fetch(frame.base + "health", headers=NULL | {"Host": "evil.example"})).status == 403
    assert await refused(frame, Host="evil.example") == 403


async def test_credentials_stay_where_they_are(opened, editor, jp_auth_header):
    frame = await opened("edit")
    token = editor.upstream.token
    marimos = [{"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer wrong"}, {"Cookie": "session=x"}]
    seen = [await frame.get("health", **headers) for headers in marimos]
    seen += [await frame.get(f"health?{name}={token}") for name in ("access_token", "%61ccess_token", "token")]
    for path in (*LOOKED_AT, *HIDDEN, "api/status", "api/usage", "manifest.json", "assets/nothing.js", "nothing"):
        seen += [await frame.get(path), await frame.post(path)]
    seen += [
        await frame.get("", **jp_auth_header),
        await fetch(frame.base + f"?access_token={token}", headers=jp_auth_header),
    ]
    assert {answer.status for answer in seen[:6]} == {200}
    for answer in seen:
        text = f"{list(answer.headers.get_all())}".encode() + answer.body
        assert token not in text.decode("latin-1")
        cookies = answer.headers.get_list("Set-Cookie")
        assert not [c for c in cookies if c.startswith("session")], cookies
        assert "uvicorn" not in answer.headers.get("Server", "")
        assert not answer.headers.get("Location") or answer.status == 302


async def test_no_log_holds_a_ticket(opened, caplog, jp_auth_header, editors):
    frame = await opened("edit")
    with caplog.at_level(logging.DEBUG):
        for path in ("health", "auth/token", "api/nothing", "assets/nothing.js", "", "%00", "ws", "?access_token=abc"):
            for method in ("GET", "POST", "PUT", "OPTIONS", "TRACE"):
                for headers in (NULL, jp_auth_header, {"Origin": EVIL}, {"Referer": "x"}):
                    await fetch(frame.base + path, method, headers=headers)
        (await frame.socket("s_log001")).close()
        await refused(frame, Origin=EVIL)
        editors.up = False
        await fetch(frame.base + "health", headers=NULL)
        await fetch(frame.base[:-1], headers=jp_auth_header)
        await fetch(frame.url, headers=jp_auth_header)
        await fetch(frame.url)
        await asyncio.sleep(0.1)
    assert len(caplog.records) > 50
    lines = [record.getMessage() + (record.exc_text or "") for record in caplog.records if "tests" not in record.name]
    own = [line for line in lines if "/nt/" in line]
    assert len(own) > 50
    assert not [line for line in lines if frame.ticket in line or frame.secret in line]
    assert not [line for line in lines if editors.editor.upstream.token in line]


async def test_every_answer_is_without_rights(opened):
    frame = await opened("edit")
    for path in ("", "health", "favicon.ico", "auth/token", "assets/nothing.js", "public/x.html", "api/kernel/run"):
        answer = await frame.get(path)
        policy = policy_of(answer)
        assert "allow-same-origin" not in policy["sandbox"]
        assert policy["default-src"] == "'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert json.loads((await frame.get("health")).body) == {"status": "healthy"}
