"""Which models there are, for whom, and by which names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.models import LINES, WAIT_S, ModelCatalogue, fits
from jupyterlab_postdoc.providers.base import ModelEvent, ModelInfo, TextDelta, TurnEnd, TurnRequest

from .scripted import EchoProvider


def model(id: str, line: str | None = None, **more: Any) -> ModelInfo:
    return ModelInfo(id=id, label=id.title(), provider="fleet", line=line, **more)


FLEET = [
    model("claude-opus-5-1", "opus", context=1_000_000, output=128_000, effort=("low", "high")),
    model("claude-haiku-5-20260901", "haiku", input_price=1.0, output_price=5.0),
    model("claude-opus-5", "opus"),
    model("claude-haiku-4-5-20251001", "haiku"),
    model("other-large"),
]


class Fleet:
    """A provider with models, as slow as it is told to be."""

    id = "fleet"
    label = "Fleet"

    def __init__(self, models: list[ModelInfo] = FLEET, *, wait_s: float = 0.0, ok: bool = True) -> None:
        self.found = models
        self.wait_s = wait_s
        self.ok = ok
        self.asked = 0

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta(f"I am {request.model}.")
        yield TurnEnd("end_turn", {"input_tokens": 3, "output_tokens": 5})

    def status(self) -> dict[str, Any]:
        why = {} if self.ok else {"next": "Set ANTHROPIC_API_KEY."}
        return {"ok": self.ok, "message": "Well." if self.ok else "There is no key.", "configured": self.ok, **why}

    async def models(self) -> list[ModelInfo]:
        self.asked += 1
        await asyncio.sleep(self.wait_s)
        return self.found

    async def close(self) -> None:
        pass


class Prices:
    """A price list of the test."""

    async def load(self) -> None:
        self.known = {"claude-opus-5": (5.0, 25.0)}

    def per_million(self, model: str) -> tuple[float, float] | None:
        return self.known.get(model)


async def refused(catalogue: ModelCatalogue, name: str | None, anonymous: bool = False) -> PostdocError:
    with pytest.raises(PostdocError) as info:
        await catalogue.resolve(name, anonymous)
    assert info.value.message.endswith(".")
    assert info.value.next, info.value.message
    return info.value


async def test_names_lines_and_the_default():
    catalogue = ModelCatalogue(Fleet())
    assert await catalogue.resolve(None, False) == "claude-haiku-5-20260901"
    assert [await catalogue.resolve(line, False) for line in ("haiku", "Opus ")] == [
        "claude-haiku-5-20260901",
        "claude-opus-5-1",
    ]
    assert await catalogue.resolve("claude-opus-5", False) == "claude-opus-5"
    assert await catalogue.resolve("claude-haiku-4-5", False) == "claude-haiku-4-5-20251001"
    assert await catalogue.resolve("claude-opus-5-20260101", False) == "claude-opus-5-20260101"
    unknown = await refused(catalogue, "gpt")
    assert unknown.code == "no_model"
    assert "claude-opus-5-1" in unknown.next
    assert (await refused(catalogue, "sonnet")).code == "no_model"
    assert (await refused(catalogue, "template")).code == "no_model"
    for default in ("opus", "claude-opus-5", "claude-haiku-4-5"):
        chosen = await ModelCatalogue(Fleet(), default=default).resolve(None, False)
        assert chosen == await catalogue.resolve(default, False)


async def test_the_administrators_list_counts_for_names_lines_default_and_later():
    catalogue = ModelCatalogue(Fleet(), allowed=["claude-opus-5", "claude-haiku-4-*"], default="opus")
    assert await catalogue.resolve("haiku", False) == "claude-haiku-4-5-20251001", "the newest that is allowed"
    assert await catalogue.resolve(None, False) == "claude-opus-5"
    error = await refused(catalogue, "claude-opus-5-1")
    assert (error.code, "administrator" in error.message) == ("forbidden", True)
    assert "claude-haiku-4-*" in error.next
    catalogue.check("claude-opus-5", False)
    with pytest.raises(PostdocError, match="does not allow the model other-large"):
        catalogue.check("other-large", False)
    assert (await refused(ModelCatalogue(Fleet(), allowed=["nothing-*"]), None)).code == "no_model"
    named = ModelCatalogue(Fleet(), allowed=["local/llama-4", "*"], default="local/llama-4")
    assert await named.resolve("local/llama-4", False) == "local/llama-4", "a name the administrator gives exists"
    assert await named.resolve(None, False) == "local/llama-4"


async def test_users_without_a_login_get_haiku_only():
    catalogue = ModelCatalogue(Fleet(), default="opus")
    assert await catalogue.resolve(None, True) == "claude-haiku-5-20260901"
    for name in ("opus", "claude-opus-5", "other-large"):
        assert (await refused(catalogue, name, True)).code == "forbidden"
    with pytest.raises(PostdocError, match="without a login"):
        catalogue.check("claude-opus-5", True)
    shown = {entry["id"]: entry for entry in await catalogue.list(True)}
    assert [id for id, entry in shown.items() if entry["available"]] == [
        "template",
        "claude-haiku-5-20260901",
        "claude-haiku-4-5-20251001",
    ]
    assert "without a login" in shown["claude-opus-5"]["reason"]
    assert shown["claude-opus-5"]["next"]
    wider = ModelCatalogue(Fleet(), anonymous=["opus"])
    assert await wider.resolve("opus", True) == "claude-opus-5-1"
    assert (await refused(ModelCatalogue(Fleet(), anonymous=[]), None, True)).code == "no_model"


async def test_the_list_tells_what_each_model_is_and_costs():
    shown = {entry["id"]: entry for entry in await ModelCatalogue(Fleet(), Prices()).list(False)}
    assert list(shown) == ["template", *(m.id for m in FLEET)]
    assert shown["claude-opus-5-1"] == {
        "id": "claude-opus-5-1",
        "label": "Claude-Opus-5-1",
        "line": "opus",
        "provider": "fleet",
        "available": True,
        "kinds": ["chat", "research"],
        "context": 1_000_000,
        "output": 128_000,
        "thinking": True,
        "effort": ["low", "high"],
        "prices": None,
        "default": False,
    }
    assert shown["claude-haiku-5-20260901"]["prices"] == {"input": 1.0, "output": 5.0}
    assert shown["claude-opus-5"]["prices"] == {"input": 5.0, "output": 25.0}
    assert [id for id, entry in shown.items() if entry["default"]] == ["claude-haiku-5-20260901"]
    assert shown["template"]["kinds"] == ["research"]


async def test_without_a_key_the_list_says_so_and_what_to_do():
    catalogue = ModelCatalogue(Fleet(ok=False))
    assert not catalogue.configured
    for entry in (await catalogue.list(False))[1:]:
        assert (entry["available"], entry["reason"], entry["next"]) == (
            False,
            "There is no key.",
            "Set ANTHROPIC_API_KEY.",
        )
    assert (await refused(catalogue, "haiku")).code == "no_model"
    nothing = ModelCatalogue(None)
    assert [entry["id"] for entry in await nothing.list(False)] == ["template"]
    assert not nothing.configured
    error = await refused(nothing, "haiku")
    assert (error.code, "ANTHROPIC_API_KEY" in error.next) == ("no_model", True)


async def test_a_slow_provider_holds_nobody_up():
    slow = Fleet(wait_s=WAIT_S + 1.0)
    catalogue = ModelCatalogue(slow, built_in=[model("claude-haiku-4-5", "haiku")])
    began = time.monotonic()
    assert await catalogue.resolve("haiku", False) == "claude-haiku-4-5"
    assert time.monotonic() - began < WAIT_S + 0.5
    began = time.monotonic()
    assert len(await catalogue.models()) == 1
    assert time.monotonic() - began < 0.1, "the answer under way is not waited for again"
    await asyncio.sleep(1.3)
    slow.wait_s = 0.0
    assert await catalogue.resolve("haiku", False) == "claude-haiku-5-20260901"
    assert slow.asked == 2


async def test_a_provider_without_a_list_takes_any_allowed_name():
    catalogue = ModelCatalogue(EchoProvider(), allowed=["echo", "tiny-*"])
    assert catalogue.configured
    assert await catalogue.resolve(None, False) == "echo"
    assert await catalogue.resolve("tiny-1", False) == "tiny-1"
    assert (await refused(catalogue, "large")).code == "forbidden"
    assert [entry["id"] for entry in await catalogue.list(False)] == ["template", "echo"]


@pytest.mark.parametrize(
    ("name", "patterns", "expected"),
    [
        ("claude-haiku-5", ["claude-haiku-*"], True),
        ("claude-opus-5", ["haiku", "sonnet"], False),
        ("claude-opus-5", ["opus"], True),
        ("claude-opus-5", ["Claude-*"], False),
        ("claude-opus-5", [], False),
    ],
)
def test_patterns(name, patterns, expected):
    assert set(LINES) >= {"haiku", "opus"}
    assert fits(name, patterns) is expected
