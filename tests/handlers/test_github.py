"""The connection to GitHub over HTTP: tried out before it is kept, told without the token, and its owner's only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.auth.identity import IdentityProvider, User
from traitlets.config import Config

from tests.forge.emulated import BOB, TOKEN, Emulated
from tests.forge.faults import Faults, hang, status


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Emulated]:
    with Emulated(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def faults(hub: Emulated) -> Iterator[Faults]:
    with Faults(hub.api_url) as proxy:
        yield proxy


@pytest.fixture
def jp_server_config(faults: Faults, tmp_path, monkeypatch):
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    ours = {"github_api_url": faults.url, "data_dir": str(tmp_path / "data")}
    return Config({"ServerApp": {"jpserver_extensions": {"jupyterlab_postdoc": True}}, "PostdocApp": ours})


@pytest.fixture
def without_login(jp_server_config):
    jp_server_config.merge(Config({"ServerApp": {"disable_check_xsrf": True}}))


class People(IdentityProvider):
    """Everybody is who the header X-Name says."""

    def get_user(self, handler):
        name = handler.request.headers.get("X-Name")
        return User(name, name, name) if name else None


class ReadersAndWriters(Authorizer):
    """Whoever is called reader may look only."""

    def is_authorized(self, _handler, user, action, _resource):
        return user.username != "reader" or action == "read"


@pytest.fixture
def people(jp_server_config):
    jp_server_config.merge(
        Config(
            {
                "ServerApp": {
                    "identity_provider_class": People,
                    "authorizer_class": ReadersAndWriters,
                    "disable_check_xsrf": True,
                }
            }
        )
    )


async def test_connect_describe_and_disconnect(http, tmp_path):
    before = (await http("GET", "api/github")).json
    assert before["connected"] is False
    answer = await http("PUT", "api/github", body={"token": TOKEN, "store": "file"})
    assert answer.status == 200, answer.body
    assert answer.json["connected"] is True
    assert answer.json["account"]["login"] == "ana"
    assert (answer.json["source"], answer.json["mine"]) == ("stored", True)
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await http("GET", "api/github")).json == answer.json
    health = (await http("GET", "api/health")).json["parts"]["github"]
    assert health["ok"] is True
    assert "as ana" in health["message"]
    assert TOKEN.encode() not in answer.body
    assert len(list((tmp_path / "data" / "github").glob("*.token"))) == 1
    gone = await http("DELETE", "api/github")
    assert gone.json["connected"] is False
    assert not list((tmp_path / "data" / "github").glob("*.token"))
    assert "Not connected" in (await http("GET", "api/health")).json["parts"]["github"]["message"]


async def test_a_bad_token_is_refused_and_not_kept(http, faults, tmp_path):
    faults.rule("GET", r"/user$", status(401, {}, {"message": f"Bad credentials: {TOKEN}"}), times=9)
    answer = await http("PUT", "api/github", body={"token": TOKEN})
    assert answer.status == 502
    assert answer.json["code"] == "github_auth"
    assert "refused the token" in answer.json["error"]
    assert answer.json["next"]
    assert TOKEN.encode() not in answer.body
    assert not list(tmp_path.rglob("*.token"))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "bad_message"),
        ({"token": TOKEN, "source": "gh"}, "bad_message"),
        ({"token": 7}, "bad_message"),
        ({"token": TOKEN, "store": "cloud"}, "bad_message"),
        ({"source": "environment"}, "bad_message"),
        ({"token": "short"}, "github_auth"),
        ({"token": TOKEN + "\nX-Evil: 1"}, "github_auth"),
        ({"token": "tökentökentökentökentöken"}, "github_auth"),
    ],
)
async def test_what_is_no_wish_is_a_sentence(http, faults, body, code):
    answer = await http("PUT", "api/github", body=body)
    assert answer.json["code"] == code, answer.json
    assert faults.requests == [], "GitHub is not asked"
    assert TOKEN.encode() not in answer.body


async def test_everybody_has_their_own(people, http):
    def called(name):
        return {"auth": False, "headers": {"X-Name": name}}

    assert (await http("PUT", "api/github", body={"token": TOKEN}, **called("ana"))).status == 200
    assert (await http("PUT", "api/github", body={"token": BOB}, **called("bob"))).status == 200
    assert (await http("GET", "api/github", **called("ana"))).json["account"]["login"] == "ana"
    assert (await http("GET", "api/github", **called("bob"))).json["account"]["login"] == "bob"
    assert (await http("GET", "api/github", **called("carl"))).json["connected"] is False
    await http("DELETE", "api/github", **called("bob"))
    assert (await http("GET", "api/github", **called("ana"))).json["connected"] is True


async def test_who_may_only_look_connects_nothing(people, http):
    reader = {"auth": False, "headers": {"X-Name": "reader"}}
    assert (await http("GET", "api/github", **reader)).status == 200
    for verb, body in (("PUT", {"token": TOKEN}), ("DELETE", None)):
        assert (await http(verb, "api/github", body=body, **reader)).status == 403


async def test_without_a_login_no_token_is_kept(without_login, http, server, tmp_path):
    server.identity_provider.token = ""  # the fixture of pytest-jupyter has set one
    answer = await http("PUT", "api/github", body={"token": TOKEN}, auth=False)
    assert answer.status == 403, answer.body
    assert "Nobody is logged in" in answer.json["error"]
    assert not list(tmp_path.rglob("*.token"))


async def test_a_github_that_hangs_does_not_slow_health(http, faults):
    await http("PUT", "api/github", body={"token": TOKEN})
    import time

    from jupyterlab_postdoc.forge import connection as module

    kept, module.KEEP_S = module.KEEP_S, 0.0
    try:
        faults.rule("GET", r"/user$", hang(4.0))
        begun = time.monotonic()
        part = (await http("GET", "api/health")).json["parts"]["github"]
        assert time.monotonic() - begun < 3.5
        assert "did not answer yet" in part["message"]
    finally:
        module.KEEP_S = kept
