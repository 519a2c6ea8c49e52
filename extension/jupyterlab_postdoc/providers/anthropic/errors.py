"""Everything that can go wrong with a call of the SDK, as a sentence: what happened, what was kept, what to do.

Only some of it comes as the SDK's own errors: a cut connection, a silent server and a damaged stream come as those of
the layers below. What the server said is never repeated: it may quote the request.
"""

from __future__ import annotations

import json
from typing import Any

from jupyterlab_postdoc.errors import PostdocError

KEPT = "Nothing of the reply was carried out."
CHECK_KEY = (
    "Check ANTHROPIC_API_KEY (or PostdocApp.anthropic_api_key_file) where the Jupyter server is started. "
    "Research with the provider `template` needs no key."
)
READER = "jupyterlab_postdoc.providers.anthropic.reply"
UNANSWERED = frozenset({"RemoteProtocolError", "ReadError", "WriteError"})
LATER = "It is asked again by itself; if that does not help, resume later."


def explained(e: Exception) -> PostdocError | None:
    """The error for people; None for one that is a fault of ours (or no error of a call at all)."""
    import anthropic
    import httpx2
    from pydantic import ValidationError

    if isinstance(e, PostdocError):
        return e
    if isinstance(e, anthropic.APIStatusError):
        return _answered(e)
    if isinstance(e, anthropic.APITimeoutError | httpx2.TimeoutException):
        return _error("provider_timeout", f"The model has been silent for too long. {KEPT}", LATER, retryable=True)
    if isinstance(e, httpx2.ProtocolError | httpx2.ReadError | httpx2.WriteError):
        return cut_off()
    if isinstance(e, anthropic.APIConnectionError | httpx2.TransportError):
        return _unreachable(e)
    if isinstance(e, httpx2.HTTPError | httpx2.StreamError | json.JSONDecodeError | ValidationError | EOFError):
        return cut_off()
    if isinstance(e, anthropic.AnthropicError) or _of_the_stream(e):
        return cut_off()
    if isinstance(e, TypeError) and "authentication" in str(e):
        return _error("provider_auth", f"There is no usable key for Claude. {KEPT}", CHECK_KEY)
    return None


def _unreachable(e: BaseException) -> PostdocError:
    """No connection, and why: the causes hold what the system said."""
    causes: list[BaseException] = []
    cause: BaseException | None = e
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(type(cause).__name__ == "LocalProtocolError" for cause in causes):
        return _error("provider_auth", f"The key for Claude holds characters that no key has. {KEPT}", CHECK_KEY)
    said = " ".join(f"{type(cause).__name__} {cause}".lower() for cause in causes)
    if "ssl" in said or "certificate" in said:
        why = "Its certificate was not accepted, or it does not speak TLS."
        where = "Check ANTHROPIC_BASE_URL, the computer's clock, and SSL_CERT_FILE when a proxy inspects traffic."
        return _error("provider_stream_error", f"The model's server cannot be reached. {why} {KEPT}", where)
    if "gaierror" in said or "name or service" in said or "name resolution" in said:
        why = "Its name was not found: the network may be down."
    elif "refused" in said or "all connection attempts failed" in said:
        why = "Nothing answers at its address."
    elif any(type(cause).__name__ in UNANSWERED for cause in causes):  # a kept connection that was closed meanwhile
        message = f"The model's server closed the connection before it answered. {KEPT}"
        return _error("provider_stream_error", message, LATER, retryable=True)
    else:
        why = "The connection could not be made."
    where = "Check the network, and ANTHROPIC_BASE_URL when it is set."
    return _error("provider_stream_error", f"The model's server cannot be reached. {why} {KEPT}", where, retryable=True)


def not_the_api() -> PostdocError:
    """A server that answered 200, but with something else than a reply."""
    return _error(
        "provider_stream_error",
        f"The model's server answered, but not with a reply of a model. {KEPT}",
        "Check ANTHROPIC_BASE_URL: a proxy or another kind of server may be there.",
        retryable=True,
    )


def _of_the_stream(e: Exception) -> bool:
    """Errors of Python's own with which the SDK's reader meets a stream that makes no sense."""
    kinds = ValueError | RuntimeError | AssertionError | IndexError | AttributeError | KeyError
    if not isinstance(e, kinds | TypeError):
        return False
    place, at = "", e.__traceback__
    while at is not None:
        place = at.tb_frame.f_globals.get("__name__", "")
        at = at.tb_next
    if place == READER:  # the SDK does not check what an event holds
        return True
    return isinstance(e, kinds) and place.startswith(("anthropic.", "httpx2", "httpcore2", "pydantic", "jiter"))


def cut_off() -> PostdocError:
    """A reply that broke off, or of which some bytes make no sense."""
    message = f"The connection to the model was cut off in mid-reply. {KEPT}"
    return _error("provider_stream_error", message, LATER, retryable=True)


def _error(code: str, message: str, next: str, *, retryable: bool = False, **details: Any) -> PostdocError:
    return PostdocError(code, message, next=next, retryable=retryable, **details)


def _answered(e: Any) -> PostdocError:
    """An error that the server told us: by its status, or in mid-stream (status 200) by its type."""
    status, kind = int(e.status_code), str(getattr(e, "type", None) or "")
    text = str(getattr(e, "message", "")).lower()
    if status == 200:
        status = {
            "overloaded_error": 529,
            "rate_limit_error": 429,
            "authentication_error": 401,
            "permission_error": 403,
            "invalid_request_error": 400,
            "request_too_large": 413,
            "not_found_error": 404,
            "billing_error": 402,
            "timeout_error": 504,
        }.get(kind, 500)
    if status == 401:
        return _error("provider_auth", f"The key for Claude was not accepted. {KEPT}", CHECK_KEY)
    if status in (402, 403) or (status == 400 and "credit balance" in text):
        why = "has no credit left" if status != 403 or "credit" in text or "billing" in text else "may not do this"
        return _error("provider_auth", f"The account of the key for Claude {why}. {KEPT}", CHECK_KEY)
    if status == 404:
        return _error("no_model", f"The model's server does not know this model. {KEPT}", "Choose another model.")
    if status == 413 or (status == 400 and ("too long" in text or ("context" in text and "exceed" in text))):
        return _error(
            "too_large",
            f"The conversation is longer than the model can read. {KEPT}",
            "Start a new chat.",
            context=True,
        )
    if status == 429:
        return _error(
            "provider_rate_limited", f"The model's server asks to slow down. {KEPT}", LATER, retryable=True, **_after(e)
        )
    if status in (529, 503):
        return _error("provider_overloaded", f"The model is overloaded. {KEPT}", LATER, retryable=True, **_after(e))
    if status in (408, 504):
        return _error("provider_timeout", f"The model's server took too long. {KEPT}", LATER, retryable=True)
    if status == 409 or status >= 500:
        return _error(
            "provider_stream_error", f"The model's server failed ({status}). {KEPT}", LATER, retryable=True, **_after(e)
        )
    return _error(
        "bad_message",
        f"The model's server did not accept the request ({status}). Your message is kept.",
        "Send it in other words or choose another model; if it stays so, the server may not speak the Messages API.",
    )


def _after(e: Any) -> dict[str, float]:
    """How long the server asks to wait, in seconds."""
    headers = getattr(getattr(e, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:
            return {"retry_after_s": seconds}
    return {}
