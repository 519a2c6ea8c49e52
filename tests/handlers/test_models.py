"""Models over HTTP: what a user may choose, what a chat keeps, and what is refused without losing anything."""

from __future__ import annotations

import asyncio

import pytest
from jupyter_server.auth.identity import IdentityProvider, User
from traitlets.config import Config

from tests.test_models import Fleet


@pytest.fixture
def with_models(jp_server_config):
    jp_server_config.merge(Config({"PostdocApp": {"chat_provider": Fleet}}))


@pytest.fixture
def without_login(jp_server_config):
    jp_server_config.merge(Config({"ServerApp": {"disable_check_xsrf": True}}))


class Lobby(IdentityProvider):
    """People by name (the header X-Name), and guests whom nobody knows."""

    def get_user(self, handler):
        name = handler.request.headers.get("X-Name")
        return User(name, name, name.title()) if name else self.generate_anonymous_user(handler)

    def is_token_authenticated(self, handler):
        return handler.request.headers.get("X-Name") is not None


@pytest.fixture
def lobby(jp_server_config):
    jp_server_config.merge(Config({"ServerApp": {"identity_provider_class": Lobby, "disable_check_xsrf": True}}))


async def settled(http, chat, **kwargs):
    for _ in range(200):
        events = (await http("GET", f"api/chats/{chat}/messages", **kwargs)).json
        if events and events[-1]["type"] == "session_state" and events[-1]["status"] in ("finished", "error"):
            return events
        await asyncio.sleep(0.02)
    raise AssertionError(events)


async def test_a_chat_keeps_its_model_and_answers_with_it(with_models, http):
    listed = (await http("GET", "api/models")).json
    assert all(entry["available"] for entry in listed)
    plain = (await http("POST", "api/chats", body={})).json
    assert plain["model"] == "claude-haiku-5-20260901", "the default, by its full name"
    chat = (await http("POST", "api/chats", body={"model": "opus"})).json
    assert chat["model"] == "claude-opus-5-1"
    await http("POST", f"api/chats/{chat['id']}/messages", body={"content": "who are you"})
    events = await settled(http, chat["id"])
    assert "I am claude-opus-5-1." in [e.get("content") for e in events if e["type"] == "assistant_message"]


async def test_another_model_is_chosen_later_and_everybody_hears_of_it(with_models, http, connect):
    chat = (await http("POST", "api/chats", body={})).json["id"]
    client = await connect()
    await client.ask({"type": "subscribe", "chatId": chat})
    await client.send({"type": "session.set", "id": "s1", "chatId": chat, "model": "opus"})
    state = await client.until("session_state")
    assert state["model"] == "claude-opus-5-1"
    await client.send({"type": "session.set", "id": "s2", "chatId": chat, "title": "New"})
    state = await client.until("session_state")
    assert "model" not in state, "said when it changed only"
    assert (await http("GET", f"api/chats/{chat}")).json["model"] == "claude-opus-5-1"


async def test_an_unknown_model_loses_nothing(with_models, http):
    refused = await http("POST", "api/chats", body={"model": "gpt"})
    assert (refused.status, refused.json["code"]) == (409, "no_model")
    assert "claude-opus-5-1" in refused.json["next"]
    assert (await http("GET", "api/chats")).json == []
    chat = (await http("POST", "api/chats", body={"model": "opus"})).json
    changed = await http("PATCH", f"api/chats/{chat['id']}", body={"model": "gpt", "title": "other"})
    assert (changed.status, changed.json["code"]) == (409, "no_model")
    assert (await http("GET", f"api/chats/{chat['id']}")).json == chat
    topic = await http("POST", f"api/chats/{chat['id']}/research", body={"topic": "x", "model": "gpt"})
    assert (topic.status, topic.json["code"]) == (409, "no_model")
    assert (await http("GET", f"api/chats/{chat['id']}")).json == chat


async def test_without_a_key_a_chat_can_be_made_and_a_model_cannot_be_named(http):
    assert (await http("POST", "api/chats", body={})).json["model"] is None
    refused = await http("POST", "api/chats", body={"model": "haiku"})
    assert (refused.status, refused.json["code"]) == (409, "no_model")
    assert "ANTHROPIC_API_KEY" in refused.json["next"]
    listed = (await http("GET", "api/models")).json
    assert [entry["id"] for entry in listed if entry["available"]] == ["template"]
    assert all("ANTHROPIC_API_KEY" in entry["next"] for entry in listed[1:])
    part = (await http("GET", "api/health")).json["parts"]["provider"]
    assert (part["ok"], part["provider"], "ANTHROPIC_API_KEY" in part["next"]) == (True, "template", True)


@pytest.fixture
def with_prices(jp_server_config):
    prices = {"claude-opus-*": {"input": 1000.0, "output": 5000.0}}
    jp_server_config.merge(Config({"PostdocApp": {"model_prices": prices, "budget_usd_session": 0.0}}))


async def test_what_was_spent_today_is_told(with_models, with_prices, http):
    for model in ("opus", "haiku"):
        chat = (await http("POST", "api/chats", body={"model": model})).json["id"]
        await http("POST", f"api/chats/{chat}/messages", body={"content": "who are you"})
        events = await settled(http, chat)
        result = next(event for event in events if event["type"] == "result")
        assert result["success"] is True, events
    part = (await http("GET", "api/health")).json["parts"]["budgets"]
    assert (part["callsToday"], part["spentToday"]) == (2, pytest.approx(0.028, rel=0.2)), part
    assert "$5 for a run" in part["message"]
    assert "a chat" not in part["message"], "no limit was set for it"
    assert "You have spent about $0.03 today (2 calls" in part["message"]


async def test_health_tells_who_answers_and_what_it_may_cost(with_models, http):
    parts = (await http("GET", "api/health")).json["parts"]
    assert (parts["provider"]["ok"], parts["provider"]["provider"], parts["provider"]["message"]) == (
        True,
        "fleet",
        "Well.",
    )
    assert parts["budgets"]["message"]
    assert parts["web"]["ok"] is True


async def test_a_server_without_login_has_haiku_only(with_models, without_login, http, server):
    server.identity_provider.token = ""  # the fixture of pytest-jupyter has set one
    entries = (await http("GET", "api/models", auth=False)).json
    assert {entry["line"] for entry in entries if entry["available"] and "line" in entry} == {"haiku"}
    refused = await http("POST", "api/chats", body={"model": "opus"}, auth=False)
    assert (refused.status, refused.json["code"]) == (403, "forbidden"), refused.json
    assert "login" in refused.json["error"]


async def test_the_shared_token_makes_a_known_user(with_models, http):
    assert (await http("POST", "api/chats", body={"model": "opus"})).status == 201


async def test_a_guest_among_people_has_haiku_only(with_models, lobby, http):
    ana = {"X-Name": "ana"}
    assert (await http("POST", "api/chats", body={"model": "opus"}, headers=ana, auth=False)).status == 201
    refused = await http("POST", "api/chats", body={"model": "opus"}, auth=False)
    assert (refused.status, refused.json["code"]) == (403, "forbidden"), refused.json
    assert (await http("POST", "api/chats", body={"model": "haiku"}, auth=False)).status == 201
