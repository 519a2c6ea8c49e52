"""What models cost: figures of the list that comes with the package, checked against the published tariff."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from jupyterlab_postdoc.errors import PostdocError
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
    own = {"input": 1, "output": 5, "cache_read": 0.1, "cache_write": 1.25}
    mine = Prices({"gateway/*": own})
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 1}
    assert mine.cost("gateway/x", usage) == pytest.approx(7.35e-6)
    assert (mine.is_own("gateway/x"), mine.is_own("other")) == (True, False)


@pytest.mark.parametrize(
    "price", [{"input": -1, "output": 1}, {"input": 1}, {"input": 1, "output": "5"}, {"inptu": 1, "input": 1}, 3, {}]
)
def test_what_is_no_price_is_refused_by_name(price: object) -> None:
    with pytest.raises(PostdocError) as caught:
        Prices({"llama-*": price})  # type: ignore[dict-item]
    assert "llama-*" in caught.value.message


def test_a_long_request_costs_what_the_tariff_says() -> None:
    prices = Prices()
    assert prices.cost("claude-haiku-5-5", {"input_tokens": 90_000}) == pytest.approx(0.009)
    long = {"input_tokens": 10_000, "cache_read_input_tokens": 140_000, "output_tokens": 1_000}
    assert prices.cost("claude-haiku-5-5", long) == pytest.approx(0.005 + 0.007 + 0.0025)


def test_the_list_is_the_installed_one_and_no_network_is_used() -> None:
    """In a process of its own that counts every connection and every thread; a newer list of others is not taken."""
    code = """
        import socket, sys, threading
        used, network = [], ("socket.connect", "socket.getaddrinfo")
        sys.addaudithook(lambda name, args: used.append(name) if name in network else None)
        import asyncio
        from jupyterlab_postdoc.providers.prices import Prices
        assert "genai_prices" not in sys.modules
        prices = Prices(); asyncio.run(prices.load())
        from genai_prices import data_snapshot
        data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[], from_auto_update=True))
        assert prices.cost("claude-haiku-5-5", {"input_tokens": 10}) > 0
        assert not used, used
        assert not [t for t in threading.enumerate() if t.name.startswith("genai_prices")]
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (child.returncode, child.stderr) == (0, "")
