"""The page without JupyterLab and its files, on a real server."""

from __future__ import annotations

import json
import re
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from jupyterlab_postdoc import __version__
from jupyterlab_postdoc.handlers import page

PAGES = ["", "new", "rooms", "rooms/a%20b", "s/c_1"]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built page: the real one is made by Node, which not everybody has."""
    static = tmp_path / "static"
    static.mkdir()
    (static / "page.js").write_text("console.log(1)")
    (static / "page.css").write_text("p{}")
    (static / "page-chunk-ABCDEF12.js").write_text("export {}")
    (static / "sub").mkdir()
    (tmp_path / "secret.js").write_text("secret")
    monkeypatch.setattr(page, "STATIC", static)
    return static


async def test_every_view_is_one_page_with_its_own_files(http, built, jp_base_url):
    bodies = set()
    for path in PAGES:
        answer = await http("GET", path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), path
        bodies.add(answer.body)
    (body,) = bodies
    text = body.decode()
    config = json.loads(re.search(r'id="postdoc-config">(.*?)</script>', text)[1])
    assert config == {"baseUrl": jp_base_url, "version": __version__, "language": "en", "lab": False}
    files = re.findall(r'(?:src|href)="([^"]*/postdoc/static/[^"]*)"', text)
    assert [re.sub(r"[0-9a-f]{16}$", "", name.rpartition("/")[2]) for name in files] == ["page.css?v=", "page.js?v="]
    for name in files:
        assert name.startswith(f"{jp_base_url}postdoc/static/")
        answer = await http("GET", name.removeprefix(f"{jp_base_url}postdoc/"))
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
    assert (await http("HEAD", "s/c_1")).status == 200


async def test_the_page_may_load_only_what_is_its_own(http, built, listening):
    answer = await http("GET", "s/c_1")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["frame-src"] == policy["frame-ancestors"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert policy["connect-src"] == f"'self' ws://{listening}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "<script>" not in answer.body.decode()


async def test_the_page_brings_the_cookie_that_changes_need(http, built, jp_base_url):
    answer = await http("GET", "")
    cookies = SimpleCookie("\n".join(answer.headers.get_list("Set-Cookie")))
    assert cookies["_xsrf"]["path"] in (jp_base_url, "/a@b/", "/a%40b/")


async def test_a_token_in_the_address_goes_into_a_cookie_and_away(http, built, jp_auth_header, jp_base_url):
    token = jp_auth_header["Authorization"].split()[1]
    answer = await http("GET", f"s/c_1?token={token}&x=1", auth=False)
    assert (answer.status, answer.headers["Location"]) == (302, f"{jp_base_url}postdoc/s/c_1?x=1")
    assert any(line.startswith("username-") for line in answer.headers.get_list("Set-Cookie"))
    assert token not in str(answer.headers) + answer.body.decode()


async def test_what_the_address_and_the_browser_say_is_never_markup(http, built):
    evil = "%3C%2Fscript%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    for path in (f"s/{evil}", f"rooms/{evil}", f"s/a?x={evil}"):
        answer = await http("GET", path, headers={"Accept-Language": "</script><script>alert(1)"})
        assert b"alert" not in answer.body
    assert page.json_in_html("</script>&\u2028") == '"\\u003c/script\\u003e\\u0026\u2028"'


async def test_a_page_that_was_not_built_says_how(http, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "STATIC", tmp_path / "nothing")
    answer = await http("GET", "s/c_1")
    assert answer.status == 503
    assert "make panel" in answer.body.decode()
    assert (await http("GET", "static/page.js")).status == 404


async def test_only_the_files_of_the_page_are_served(http, built):
    answer = await http("GET", "static/page.js")
    assert (answer.status, answer.body) == (200, b"console.log(1)")
    assert "javascript" in answer.headers["Content-Type"]
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in (await http("GET", "static/page-chunk-ABCDEF12.js")).headers["Cache-Control"]
    assert (await http("HEAD", "static/page.css")).headers["Content-Type"].startswith("text/css")
    paths = [
        "../secret.js",
        "..%2fsecret.js",
        "%2e%2e/secret.js",
        "sub",
        "sub/",
        "%2fetc%2fpasswd",
        "nothing.js",
        "a%00b",
    ]
    for path in paths:
        answer = await http("GET", f"static/{path}")
        assert answer.status in (403, 404), path
        assert b"secret" not in answer.body.replace(path.encode(), b"").replace(b"secret.js", b"")
    assert (await http("POST", "static/page.js", body={})).status in (403, 405)
    assert (await http("GET", "static/page.js", auth=False)).status == 403
