"""GitHub's own program `gh`, when it is installed: whether it is logged in, and its token."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass

from jupyterlab_postdoc.errors import PostdocError

TIMEOUT_S = 10.0
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "SYSTEMROOT", "GH_CONFIG_DIR"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""Where `gh` finds its own login. Not GITHUB_TOKEN and the like: it would answer with these."""
_LOGIN = re.compile(r"(?:account|as) ([A-Za-z0-9][A-Za-z0-9-]{0,99})\b")


@dataclass(frozen=True)
class GhLogin:
    """Whether the program is here, and who is logged in to the host with it (None: nobody)."""

    available: bool
    login: str | None = None


async def login(host: str, environ: Mapping[str, str]) -> GhLogin:
    """Who is logged in. ``gh auth status`` asks GitHub, so it may take a second."""
    if shutil.which("gh", path=environ.get("PATH")) is None:
        return GhLogin(False)
    answer = await _call(environ, "auth", "status", "--hostname", host)
    if answer is None or answer[0] != 0:
        return GhLogin(True)
    found = _LOGIN.search(answer[1] + answer[2])  # versions before 2.40 say it on standard error
    return GhLogin(True, found[1] if found else "")


async def token(host: str, environ: Mapping[str, str]) -> str:
    """The token of that login. PostdocError ``github_auth`` when there is none."""
    answer = await _call(environ, "auth", "token", "--hostname", host)
    if answer is None:
        raise PostdocError(
            "github_auth",
            "The program `gh` is not here, or did not answer. Your commits are safe locally.",
            next="Install gh, or connect with a token.",
        )
    code, said, _ = answer
    if code != 0 or not said.strip():
        raise PostdocError(
            "github_auth",
            f"`gh` is not logged in to {host}. Your commits are safe locally.",
            next=f"Run `gh auth login --hostname {host}`, then try again; or connect with a token.",
        )
    return said.strip()


async def _call(environ: Mapping[str, str], *args: str) -> tuple[int, str, str] | None:
    """Exit status and both outputs, never to be logged; None when it cannot be run or does not end in time."""
    program = shutil.which("gh", path=environ.get("PATH"))
    if program is None:
        return None
    env = {name: environ[name] for name in _PASSED_ON if name in environ}
    env |= {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    try:
        process = await asyncio.create_subprocess_exec(
            program, *args, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=env, start_new_session=True
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process._transport.close()  # type: ignore[attr-defined]
    assert process.returncode is not None
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
