"""The system's keyring, by the optional package `keyring`: asked in a thread, because it may ask a person."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from jupyterlab_postdoc.errors import PostdocError

T = TypeVar("T")
SERVICE = "jupyterlab-postdoc"
TIMEOUT_S = 30.0
"""A keyring that is locked shows a window; on a server nobody sees it."""
_PLAIN = ("keyrings.alt.", "keyring.backends.fail", "keyring.backends.null")
"""Backends that keep passwords in files of their own, or not at all."""


async def usable() -> bool:
    """Whether the package is installed and has a backend that keeps passwords safely."""
    try:
        return await _in_thread(_backend) is not None
    except PostdocError:
        return False


async def get(account: str) -> str | None:
    """The password of this account; None when there is none."""
    found = await _in_thread(lambda: _call("get_password", account))
    return None if found is None else str(found)


async def put(account: str, password: str) -> None:
    """Keep it. PostdocError ``bad_message`` without a usable keyring, ``github_auth`` when it refuses."""
    await _in_thread(lambda: _call("set_password", account, password))


async def remove(account: str) -> None:
    """Forget it; nothing happens when it is not there or the keyring cannot be asked."""
    with contextlib.suppress(PostdocError):
        await _in_thread(lambda: _call("delete_password", account))


def _backend() -> Any | None:
    if sys.platform != "darwin":
        # That part of the package looks for a library of macOS by running the compiler with our whole environment.
        sys.modules.setdefault("keyring.backends.macOS.api", None)  # type: ignore[arg-type]
    try:
        import keyring
        from keyring.backends.chainer import ChainerBackend
    except ImportError:
        return None
    try:
        backend: Any = keyring.get_keyring()
        if isinstance(backend, ChainerBackend):  # a chain may have plain files at its end: its best link alone
            backend = backend.backends[0]
        usable = backend.priority >= 1
    except (RuntimeError, ValueError, OSError, LookupError):
        return None
    place = f"{type(backend).__module__}.{type(backend).__qualname__}"
    return backend if usable and not place.startswith(_PLAIN) and "plaintext" not in place.lower() else None


def _call(verb: str, *args: str) -> Any:
    backend = _backend()
    if backend is None:
        raise PostdocError(
            "bad_message",
            "There is no keyring here that could keep a token safely.",
            next="Keep it in a file, or `pip install keyring` and start a keyring service.",
        )
    from keyring.errors import KeyringError

    try:
        return getattr(backend, verb)(SERVICE, *args)
    except (KeyringError, RuntimeError, OSError) as exc:
        raise PostdocError(
            "github_auth",
            f"The system's keyring refused ({type(exc).__name__}). Your commits are safe locally.",
            next="Unlock the keyring, or keep the token in a file.",
        ) from None  # what a backend says may show what it was given


async def _in_thread(work: Callable[[], T]) -> T:
    """The result of ``work``. Its thread does not keep the server from ending while a window waits for a person."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as exc:  # noqa: BLE001 - carried over to the loop, whatever it is
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="postdoc-keyring", daemon=True).start()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await done
    except TimeoutError as exc:
        raise PostdocError(
            "github_auth",
            "The system's keyring did not answer: it may be waiting for somebody to unlock it.",
            next="Unlock the keyring, or keep the token in a file.",
            retryable=True,
        ) from exc
