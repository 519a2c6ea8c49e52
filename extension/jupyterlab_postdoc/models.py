"""Which models there are, and for whom: the administrator's allow list, the one for anonymous users, short names.

Names are checked twice: when a chat gets its model, and again when a run is about to use it, for the administrator may
have changed the lists since. Nothing here waits for the network longer than :data:`WAIT_S`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol, cast

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ModelInfo, ModelProvider, Provider

WAIT_S = 2.0
"""How long a list of models may take. Afterwards the one known so far is used, and the answer counts when it comes."""

LINES = ("haiku", "sonnet", "opus")
"""Short names: the newest model of the line. The first is the default, and the only one for anonymous users."""
ALL = ("*",)
HAIKU_ONLY = ("claude-haiku-*",)

TEMPLATE = {
    "id": "template",
    "provider": "template",
    "label": "Template script (no AI model)",
    "available": True,
    "kinds": ["research"],
}
"""The entry of what drives research without a model; it answers no free chat."""

NO_KEY = "No AI model is configured on this server."
GET_KEY = (
    "Set ANTHROPIC_API_KEY where the Jupyter server is started, or PostdocApp.anthropic_api_key_file, and restart it."
)

Models = list[ModelInfo]
Objects = list[dict[str, Any]]
# Named here because the class has a method called `list`.

_DATED = re.compile(r"-\d{8}$")


class PriceList(Protocol):
    """What models cost."""

    async def load(self) -> object:
        """Read the list, once; never from the network."""
        ...

    def per_million(self, model: str) -> tuple[float, float] | None:
        """US dollars per million tokens of input and of output; None when the model is not in the list."""
        ...


class ModelCatalogue:
    """The models of ``provider``, as patterns (``claude-haiku-*``) allow them: ``allowed`` to everybody, of these
    ``anonymous`` to users whom nobody knows. ``default`` is a name or a line, for chats that choose none.

    A provider without a list of models (one that an administrator plugs in) takes any name that is allowed.
    """

    def __init__(
        self,
        provider: Provider | None,
        prices: PriceList | None = None,
        *,
        allowed: Sequence[str] = ALL,
        anonymous: Sequence[str] = HAIKU_ONLY,
        default: str = LINES[0],
        built_in: Sequence[ModelInfo] = (),
    ) -> None:
        self.provider = provider
        self._prices = prices
        self._allowed = tuple(allowed) or ALL
        self._anonymous = tuple(anonymous)
        self._default = default or LINES[0]
        self._known: Models = list(built_in)
        self._asking: asyncio.Task[Models] | None = None

    # --- what there is ---

    @property
    def configured(self) -> bool:
        """Whether somebody has set up a model: with a key, be it a bad one. Then a template is never used unasked."""
        if self.provider is None:
            return False
        status = self.status()
        return bool(status.get("configured", status["ok"]))

    def status(self) -> dict[str, Any]:
        """``{"ok", "message", "next"?, …}``: can a model be used now, and if not, what to do."""
        if self.provider is None:
            return {"ok": False, "message": NO_KEY, "next": GET_KEY}
        if (told := getattr(self.provider, "status", None)) is None:
            return {"ok": True, "message": f"{self.provider.label}."}
        return cast(dict[str, Any], told())

    async def list(self, anonymous: bool) -> Objects:
        """Every model as an object, newest first, with why this user may not use it where that is so; the template
        entry comes first. Prices are US dollars per million tokens, null when unknown.
        """
        default = await self._default_for(anonymous)
        models = await self.models()
        status = self.status()  # after the provider was asked for its list: a refused key shows there
        shown = []
        for model in models:
            why = {} if status["ok"] else {"reason": status.get("message", ""), "next": status.get("next", "")}
            if refusal := self._refusal(model.id, anonymous):
                why = {"reason": refusal.message, "next": refusal.next}
            shown.append(self._object(model, self.configured and model.id == default, why))
        return [{**TEMPLATE, "default": default is None or not self.configured}, *shown]

    async def models(self) -> Models:
        """The provider's list with prices; the list known so far when the provider takes too long."""
        if self.provider is None:
            return []
        if self._prices is not None:
            await self._prices.load()
        if not _lists(self.provider):
            return [ModelInfo(id=self.provider.id, label=self.provider.label, provider=self.provider.id)]
        if self._asking is None:
            self._asking = asyncio.create_task(cast(ModelProvider, self.provider).models())
            self._asking.add_done_callback(self._answered)
            await asyncio.wait([self._asking], timeout=WAIT_S)
        elif not self._known:
            await asyncio.wait([self._asking], timeout=WAIT_S)
        return self._known

    def _answered(self, asked: asyncio.Task[Models]) -> None:
        self._asking = None
        if not asked.cancelled() and asked.exception() is None and asked.result():
            self._known = asked.result()

    async def close(self) -> None:
        """Ask no longer."""
        if self._asking is not None:
            self._asking.cancel()

    def _object(self, model: ModelInfo, default: bool, why: dict[str, Any]) -> dict[str, Any]:
        price = (model.input_price, model.output_price)
        if None in price and self._prices is not None:
            price = self._prices.per_million(model.id) or (None, None)
        return {
            "id": model.id,
            "label": model.label,
            "line": model.line,
            "provider": model.provider,
            "available": not why,
            **why,
            "kinds": ["chat", "research"],
            "context": model.context,
            "output": model.output,
            "thinking": model.thinking,
            "effort": list(model.effort),
            "prices": None if None in price else {"input": price[0], "output": price[1]},
            "default": default,
        }

    # --- which one ---

    async def resolve(self, name: str | None, anonymous: bool) -> str:
        """The model's full name for a name, the name of a line, or None: the default.

        Raises no_model (there is none of this name) or forbidden (it is not for this user).
        """
        if not self.configured:
            why = self.status()
            raise PostdocError(
                "no_model",
                str(why.get("message") or NO_KEY),
                next=f"{why.get('next') or GET_KEY} Research with the provider `template` needs no model.",
            )
        wanted = (name or "").strip()
        if not wanted:
            return await self._default_for(anonymous) or self._nothing(anonymous)
        if wanted == TEMPLATE["id"]:
            raise PostdocError(
                "no_model",
                "A template's script drives research only; it is no model for a chat.",
                next="Leave the model out, and start the research with the provider `template`.",
            )
        if wanted.lower() in LINES:
            return await self._newest(wanted.lower(), anonymous)
        found = await self._find(wanted)
        self.check(found, anonymous)
        return found

    def check(self, model: str, anonymous: bool) -> None:
        """Raises forbidden when this user may not use this model (any more)."""
        if refusal := self._refusal(model, anonymous):
            raise refusal

    def _refusal(self, model: str, anonymous: bool) -> PostdocError | None:
        if not fits(model, self._allowed):
            return PostdocError(
                "forbidden",
                f"The administrator of this server does not allow the model {model}.",
                next=f"Choose one of: {', '.join(self._allowed)}.",
            )
        if anonymous and not fits(model, self._anonymous):
            return PostdocError(
                "forbidden",
                f"The model {model} is not for users without a login.",
                next=f"Log in, or choose one of: {', '.join(self._anonymous) or 'none'}.",
            )
        return None

    async def _default_for(self, anonymous: bool) -> str | None:
        """The default where this user may use it, else the first model of the cheapest line that they may."""
        models = await self.models()
        if self.provider is not None and not _lists(self.provider):
            name = self._default if self._default not in LINES else self.provider.id
            return name if self._refusal(name, anonymous) is None else None
        for line in (self._default, *LINES):
            found = [m.id for m in models if line in (m.line, m.id) or _DATED.sub("", m.id) == line]
            if not found and line == self._default and line in self._allowed:
                found = [line]  # named by the administrator, so it exists although the list has it not
            for id in found:
                if self._refusal(id, anonymous) is None:
                    return id
        return next((m.id for m in models if self._refusal(m.id, anonymous) is None), None)

    async def _newest(self, line: str, anonymous: bool) -> str:
        models = [model.id for model in await self.models() if model.line == line]
        for id in models:
            if self._refusal(id, anonymous) is None:
                return id
        if models:
            self.check(models[0], anonymous)
        raise PostdocError("no_model", f"There is no {line} model for this server's key.", next=await self._hint())

    async def _find(self, name: str) -> str:
        models = [model.id for model in await self.models()]
        if name in models or name in self._allowed or (self.provider is not None and not _lists(self.provider)):
            return name
        for id in models:  # `claude-haiku-4-5` is the newest `claude-haiku-4-5-20251001`, and the other way round
            if _DATED.sub("", id) == name:
                return id
            if _DATED.sub("", name) == id:
                return name
        raise PostdocError("no_model", f"There is no model {name[:100]!r} on this server.", next=await self._hint())

    async def _hint(self) -> str:
        models = [model for model in await self.models() if self._refusal(model.id, False) is None]
        lines = [line for line in LINES if any(model.line == line for model in models)]
        names = [*lines, *(model.id for model in models)]
        return f"There are: {', '.join(names)}." if names else "Leave the model out for the default."

    def _nothing(self, anonymous: bool) -> str:
        who = "users without a login" if anonymous else "anybody"
        raise PostdocError(
            "no_model",
            f"The lists of this server allow no model to {who}.",
            next="The administrator sets PostdocApp.allowed_models and PostdocApp.anonymous_models.",
        )


def fits(model: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns (as in a shell; ``*`` is all) or names of lines stands for this model."""
    return any(fnmatchcase(model, f"*{p}*" if p in LINES else p) for p in patterns)


def _lists(provider: Provider) -> bool:
    return callable(getattr(provider, "models", None))
