"""What can go wrong on the command line, and the exit code of each."""

from __future__ import annotations

from typing import Any

DONE = 0
FAILED = 1
USAGE = 2
NO_CONNECTION = 3
WAITING = 4

_USAGE_CODES = frozenset({"bad_message", "bad_json", "unknown_type", "too_large", "no_model"})


class Problem(Exception):
    """Ends the command: a sentence for a person, what to do next, and the exit code."""

    def __init__(self, message: str, *, exit_code: int = FAILED, next: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next = next
        self.exit_code = exit_code
        self.code = code or {USAGE: "bad_message", NO_CONNECTION: "no_connection"}.get(exit_code, "failed")

    def as_dict(self) -> dict[str, Any]:
        """The object that `--json` prints on standard error."""
        return {"code": self.code, "error": self.message, "next": self.next}


def usage(message: str, next: str = "") -> Problem:
    """The command was given something it cannot use."""
    return Problem(message, exit_code=USAGE, next=next)


def no_connection(message: str, next: str = "", code: str = "no_connection") -> Problem:
    """No server could be reached, or it does not let us in (code `unauthorized`)."""
    return Problem(message, exit_code=NO_CONNECTION, next=next, code=code)


def refused(body: dict[str, Any]) -> Problem:
    """The server's own error object `{code, error, next}` as a problem of this command."""
    code = str(body.get("code") or "internal")
    return Problem(
        str(body.get("error") or "The server refused this."),
        exit_code=USAGE if code in _USAGE_CODES else FAILED,
        next=str(body.get("next") or ""),
        code=code,
    )
