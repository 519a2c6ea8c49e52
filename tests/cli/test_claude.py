"""The command line with Claude's own provider, against a server that speaks the Messages API from a script."""

from __future__ import annotations

import re

import pytest

from tests.model_server.replies import broken, model, reply, unauthorized
from tests.model_server.server import ModelServer

from .conftest import Home, RunningServer

KEY = "sk-ant-of-the-tests-0123456789abcdef"


@pytest.fixture(scope="module")
def claude(tmp_path_factory):
    """A home whose server has a key and the address of a scripted model server, as `home.model`."""
    home = Home(tmp_path_factory.mktemp("claude"))
    with ModelServer() as scripted:
        home.model = scripted
        home.env |= {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": scripted.url}
        server = RunningServer(home)
        server.start()
        home.env |= {"POSTDOC_URL": server.url, "POSTDOC_TOKEN": server.token}
        yield home
        server.stop()


def test_an_answer_with_its_cost(claude):
    claude.model.script([reply("Momentum is \x1b[2Jstrong.", thinking="Let me think.")])
    answer = claude.run("chat", "How strong is momentum?")
    assert answer.code == 0, answer.out + answer.err
    assert "Momentum is strong." in answer.out
    assert re.search(r"= Done, after .*, (less than|about) \$0\.\d\d", answer.out), answer.out
    assert "think" not in answer.out, "a log is for what was said"
    assert "provider   ok      Claude at 127.0.0.1." in claude.run("status").out


def test_a_reply_that_breaks_off_is_asked_for_again_in_plain_words(claude):
    claude.model.script([broken(reply("It is half"), "drop"), reply("It is whole.")])
    answer = claude.run("chat", "Tell me")
    assert answer.code == 0, answer.out + answer.err
    assert re.search(r"^~ .*Asking again in \d+ s", answer.out, re.MULTILINE), answer.out
    assert "It is whole." in answer.out


def test_a_key_that_is_refused(claude):
    claude.model.script([unauthorized()])
    answer = claude.run("chat", "Hello")
    assert answer.code == 1
    assert "key" in answer.out
    assert KEY not in answer.out + answer.err
    assert re.search(r"^provider +NOT OK", claude.run("status").out, re.MULTILINE)
    claude.model.script([reply("Here again.")])
    assert claude.run("chat", "Hello again").code == 0, "the next message is tried"
    assert re.search(r"^provider +ok", claude.run("status").out, re.MULTILINE)


def test_the_chosen_model_is_the_one_that_is_asked(claude):
    claude.model.script([reply("Yes.")])
    answer = claude.run("chat", "Are you Opus?", "--model", "opus")
    assert answer.code == 0, answer.out + answer.err
    assert "opus" in claude.model.requests()[-1].body["model"]


def test_models_come_from_the_live_list(tmp_path):
    home = Home(tmp_path)
    with ModelServer() as scripted:
        scripted.models([model("claude-haiku-6", "Claude Haiku 6", line="haiku"), model("house-model", "House")])
        home.env |= {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": scripted.url}
        server = RunningServer(home)
        server.start()
        try:
            home.env |= {"POSTDOC_URL": server.url, "POSTDOC_TOKEN": server.token}
            for _ in range(10):  # the built-in list is shown while the provider's has not come yet
                listed = home.run("models", "--json")
                assert listed.code == 0, listed.err
                if "house-model" in listed.out:
                    break
        finally:
            server.stop()
        assert [entry["id"] for entry in listed.json] == ["template", "claude-haiku-6", "house-model"]
