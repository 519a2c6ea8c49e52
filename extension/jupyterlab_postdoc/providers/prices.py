"""What models cost: the price list that comes with genai-prices (no network), and what the administrator adds to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.metadata import version
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import Usage

PER_MILLION = 1_000_000
OWN = "PostdocApp.model_prices"
KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}


class Prices:
    """``own`` maps patterns of model names to ``{"input", "output", "cache_read", "cache_write"}`` in US dollars per
    million tokens; it wins over the list: the exact name first, then the first pattern that fits. Kinds of the cache
    that are left out cost what input costs; a local model may cost 0. Raises bad_message when it is no price.
    """

    def __init__(self, own: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self._own = {pattern: _checked(pattern, price) for pattern, price in (own or {}).items()}
        self._loaded: _List | None = None
        self.version = ""
        """Which list the figures are from."""

    async def load(self) -> None:
        """Read the list, once, beside the loop."""
        if self._loaded is None:
            self._keep(await asyncio.to_thread(_List))

    def _keep(self, loaded: _List) -> _List:
        self._loaded = loaded
        self.version = loaded.version
        return loaded

    def cost(self, model: str, usage: Usage) -> float | None:
        """US dollars for this usage; None when no price is known. Cached input is not part of ``input_tokens``.

        Reads the list itself when nobody has called :meth:`load` (0.2 s, on the caller's thread).
        """
        own = self._own_of(model)
        if own is not None:
            return sum(usage.get(of, 0) * own[kind] for kind, of in KINDS.items()) / PER_MILLION
        return (self._loaded or self._keep(_List())).cost(model, usage)

    def source(self, model: str) -> str:
        """Where the model's price comes from: the list and its version, or the administrator's setting."""
        return OWN if self.is_own(model) else self.version

    def is_own(self, model: str) -> bool:
        """Whether the administrator has named a price for it."""
        return self._own_of(model) is not None

    def per_million(self, model: str) -> tuple[float, float] | None:
        """US dollars per million tokens of input and of output, in a short request (some models cost more in long
        ones); None when no price is known.
        """
        small = 1_000
        into, out = self.cost(model, {"input_tokens": small}), self.cost(model, {"output_tokens": small})
        if into is None or out is None:
            return None
        return into * PER_MILLION / small, out * PER_MILLION / small

    def _own_of(self, model: str) -> Mapping[str, float] | None:
        if model in self._own:
            return self._own[model]
        return next((price for pattern, price in self._own.items() if fnmatchcase(model, pattern)), None)


class _List:
    """The list as it was installed, even if something else in this process fetches newer ones: the version is true."""

    def __init__(self) -> None:
        import genai_prices
        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot

        self._usage = genai_prices.Usage
        self._data = DataSnapshot(providers=providers, from_auto_update=False)
        self.version = f"genai-prices {version('genai-prices')}"
        self.cost("claude-haiku-5-5", {"input_tokens": 1})  # the first look-up prepares tables

    def cost(self, model: str, usage: Usage) -> float | None:
        read, write = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
        counted = self._usage(
            input_tokens=usage.get("input_tokens", 0) + read + write,  # there, cached input is part of it
            output_tokens=usage.get("output_tokens", 0),
            cache_read_tokens=read,
            cache_write_tokens=write,
            **({"web_searches": searches} if (searches := usage.get("web_search_requests", 0)) else {}),
        )
        try:
            return float(self._data.calc(counted, model, "anthropic", None, None).total_price)
        except LookupError:
            return None


def _checked(pattern: str, price: Any) -> dict[str, float]:
    """All four kinds."""
    wrong = PostdocError(
        "bad_message",
        f"{OWN}[{pattern!r}] is no price: {price!r}.",
        next='Give US dollars per million tokens, 0 or more: {"input": 1.0, "output": 5.0}, and "cache_read" and '
        '"cache_write" where they differ from input.',
    )
    if not isinstance(price, Mapping) or not {"input", "output"} <= set(price) <= set(KINDS):
        raise wrong
    for value in price.values():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise wrong
    return {kind: float(price.get(kind, price["input"])) for kind in KINDS}
