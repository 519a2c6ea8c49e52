"""What models cost: the price list that comes with genai-prices (no network), and what the administrator adds to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.metadata import version
from typing import Any

from jupyterlab_postdoc.providers.base import Usage

PER_MILLION = 1_000_000
KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}


class Prices:
    """``own`` maps patterns of model names to ``{"input", "output", "cache_read", "cache_write"}`` in US dollars per
    million tokens; it wins over the list. A kind that is left out costs what input costs; a local model may cost 0.
    """

    def __init__(self, own: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self._own = dict(own or {})
        self._loaded: Any = None
        self.version = ""
        """Which list the figures are from."""

    async def load(self) -> None:
        """Read the list, once, beside the loop."""
        if self._loaded is None:
            self._loaded = await asyncio.to_thread(_load)
            self.version = f"genai-prices {version('genai-prices')}"

    def cost(self, model: str, usage: Usage) -> float | None:
        """US dollars for this usage; None when no price is known. Cached input is not part of ``input_tokens``."""
        own = self._own_of(model)
        if own is not None:
            dear = float(own.get("input", 0.0))
            return sum(usage.get(of, 0) * float(own.get(kind, dear)) for kind, of in KINDS.items()) / PER_MILLION
        if self._loaded is None:
            self._loaded = _load()
        return _listed(self._loaded, model, usage)

    def per_million(self, model: str) -> tuple[float, float] | None:
        """US dollars per million tokens of input and of output; None when no price is known."""
        small = 1_000  # some models cost more in very long requests
        into, out = self.cost(model, {"input_tokens": small}), self.cost(model, {"output_tokens": small})
        if into is None or out is None:
            return None
        return into * PER_MILLION / small, out * PER_MILLION / small

    def _own_of(self, model: str) -> Mapping[str, float] | None:
        if model in self._own:
            return self._own[model]
        return next((price for pattern, price in self._own.items() if fnmatchcase(model, pattern)), None)


def _load() -> Any:
    import genai_prices

    genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model_ref="claude-haiku-5-5", provider_id="anthropic")
    return genai_prices


def _listed(prices: Any, model: str, usage: Usage) -> float | None:
    read, write = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    counted = prices.Usage(
        input_tokens=usage.get("input_tokens", 0) + read + write,  # there, cached input is part of it
        output_tokens=usage.get("output_tokens", 0),
        cache_read_tokens=read,
        cache_write_tokens=write,
        **({"web_searches": searches} if (searches := usage.get("web_search_requests", 0)) else {}),
    )
    try:
        return float(prices.calc_price(counted, model_ref=model, provider_id="anthropic").total_price)
    except LookupError:
        return None
