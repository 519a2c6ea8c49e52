"""The one exception that carries a sentence for a person, and what each code means to HTTP."""

from __future__ import annotations

from typing import Any

from jupyterlab_postdoc.secrets import redact

HTTP_STATUS: dict[str, int] = {
    "bad_json": 400,
    "bad_message": 400,
    "unknown_type": 400,
    "unsupported_version": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "id_conflict": 409,
    "version_conflict": 409,
    "busy": 409,
    "queue_full": 429,
    "too_large": 413,
    "rate_limited": 429,
    "budget_exceeded": 402,
    "capacity": 503,
    "provider_auth": 502,
    "provider_rate_limited": 503,
    "provider_overloaded": 503,
    "provider_timeout": 504,
    "provider_stream_error": 502,
    "provider_refusal": 422,
    "no_model": 409,
    "tool_failed": 422,
    "notebook_failed": 422,
    "github_auth": 502,
    "github_conflict": 409,
    "github_rate_limited": 503,
    "github_forbidden": 403,
    "github_unreachable": 504,
    "push_rejected": 409,
    "publish_blocked": 422,
    "sandbox_missing": 503,
    "storage_full": 507,
    "internal": 500,
}
"""Every error code of the protocol, with the HTTP status that REST answers for it."""


class PostdocError(Exception):
    """Something a person should read: what happened, what was kept, and what to do next.

    ``code`` is one of :data:`HTTP_STATUS`; ``details`` are extra fields that REST and sockets pass on. Its sentences
    hold no secret of this server, whoever it was that said them first.
    """

    def __init__(self, code: str, message: str, *, next: str = "", retryable: bool = False, **details: Any) -> None:
        assert code in HTTP_STATUS, code
        message, next = redact(message), redact(next)
        super().__init__(message)
        self.code = code
        self.message = message
        self.next = next
        self.retryable = retryable
        self.details = details

    @property
    def status(self) -> int:
        """The HTTP status of this error."""
        return HTTP_STATUS[self.code]

    def as_dict(self) -> dict[str, Any]:
        """The JSON object that REST answers with, and the body of an ``error`` frame."""
        return {
            "code": self.code,
            "error": self.message,
            "next": self.next,
            "retryable": self.retryable,
            **self.details,
        }


def not_found(what: str, id: str) -> PostdocError:
    """The same answer for what does not exist and for what belongs to somebody else."""
    return PostdocError("not_found", f"There is no {what} {id!r}.", next="Check the id, or list what there is.")
