"""What models cost: figures of the list that comes with the package, checked against the published tariff."""

from __future__ import annotations

import pytest

from jupyterlab_postdoc.providers.prices import Prices

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "into", "out", "read", "write"),
    [
        ("claude-haiku-5-5", 0.10, 0.50, 0.01, 0.125),
        ("claude-sonnet-5-5", 2.0, 10.0, 0.10, 2.5),
        ("claude-opus-5-5", 4.0, 20.0, 0.20, 5.0),
    ],
)
async def test_every_kind_of_token_has_its_price(
    model: str, into: float, out: float, read: float, write: float
) -> None:
    prices = Prices()
    await prices.load()
    assert prices.per_million(model) == pytest.approx((into, out))
    ten = 10_000
    usage = {"input_tokens": ten, "output_tokens": ten, "cache_read_input_tokens": ten}
    usage["cache_creation_input_tokens"] = ten
    assert prices.cost(model, usage) == pytest.approx((into + out + read + write) * ten / MILLION)
    assert "genai-prices" in prices.version


async def test_searches_cost_too() -> None:
    prices = Prices()
    assert prices.cost("claude-haiku-5-5", {"web_search_requests": 3}) == pytest.approx(0.03)


async def test_an_unknown_model_has_no_price_and_never_costs_nothing() -> None:
    prices = Prices()
    assert prices.cost("llama-at-home", {"input_tokens": 5}) is None
    assert prices.per_million("llama-at-home") is None


async def test_the_administrator_may_say_what_a_model_costs() -> None:
    prices = Prices({"llama-*": {"input": 0, "output": 0}, "claude-haiku-5-5": {"input": 1, "output": 2}})
    assert prices.cost("llama-at-home", {"input_tokens": 5, "output_tokens": 7}) == 0.0
    assert prices.cost("claude-haiku-5-5", {"input_tokens": MILLION, "cache_read_input_tokens": MILLION}) == 2.0
    assert prices.per_million("claude-haiku-5-5") == (1.0, 2.0)
