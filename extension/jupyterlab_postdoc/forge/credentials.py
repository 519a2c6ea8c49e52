"""Tokens of GitHub: where they come from, and the only place where they are kept.

A user's own token (a file of mode 0600, the system's keyring, or the login of `gh`) goes before the server's (a file
of the configuration, a GitHub App, the environment). A token is read when it is used and never held: an expired one
can be replaced while the server runs. Whoever reads one registers it, so that nothing writes it down by mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError

Source = Literal["stored", "keyring", "gh", "file", "environment", "app"]
Where = Literal["file", "keyring"]

SERVICE = "jupyterlab-postdoc"
GH_TIMEOUT_S = 10.0
APP_SPARE_S = 300.0
"""An installation token is renewed so long before it ends."""
_FORM = re.compile(r"[\x21-\x7e]{20,4096}")
_PUBLIC = "github.com"


@dataclass(frozen=True)
class AppSettings:
    """A GitHub App: its id (or client id), the file (mode 0600) of its private key, the installation (0: the owner's).

    ``owner`` is the user or organisation whose installation is looked for.
    """

    id: str
    key_file: str
    installation: int = 0
    owner: str = ""


@dataclass(frozen=True)
class GhLogin:
    """Whether the `gh` program is here, and logged in to the host."""

    available: bool
    login: str | None = None


@dataclass(frozen=True)
class Choices:
    """Where a token could be kept, and whether `gh` could give one."""

    file: bool
    keyring: bool
    gh: GhLogin


class Credential:
    """Where to get a token. The token itself is asked for at every use and is in no attribute."""

    __slots__ = ("_read", "owner", "source")

    def __init__(self, source: Source, owner: str | None, read: Callable[[], Awaitable[str]]) -> None:
        """``owner`` is the user of this server whose it is; None: the server's own, for all users."""
        self.source = source
        self.owner = owner
        self._read = read

    def __repr__(self) -> str:
        return f"Credential(source={self.source!r}, owner={self.owner!r})"

    @property
    def key(self) -> tuple[str, str | None]:
        """What tells this credential from others; holds no secret."""
        return self.source, self.owner

    async def token(self) -> str:
        """The token, fresh. PostdocError ``github_auth`` in a sentence when there is none that can be used."""
        token = (await self._read()).strip()
        secrets.register(token)
        return checked(token)


def checked(token: str) -> str:
    """The token if it has the form of one. PostdocError ``github_auth``; never shows it."""
    if not _FORM.fullmatch(token):
        raise PostdocError(
            "github_auth",
            "That is not a GitHub token: a token is one line of 20 or more letters, digits and signs.",
            next="Copy the whole token from GitHub's page, without spaces or line breaks.",
        )
    return token


def given(token: str) -> Credential:
    """A token that was just typed in, to be tried out before it is kept."""
    secrets.register(token.strip())

    async def read() -> str:
        return token

    return Credential("stored", None, read)


class Credentials:
    """All tokens that this server may use."""

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str,
        api_url: str,
        token_file: str = "",
        app: AppSettings | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self._api_url = api_url
        self._folder = data_dir / "github"
        self._token_file = token_file
        self._app = _App(app, api_url) if app is not None and app.id and app.key_file else None
        self._environ = os.environ if environ is None else environ

    async def of(self, user: str) -> Credential | None:
        """Whose token publishes for this user: their own, else the server's; None: not connected."""
        return await self.own(user) or self.server()

    async def own(self, user: str) -> Credential | None:
        """The user's own, as they have connected it."""
        kept = await asyncio.to_thread(self._choice, user)
        if kept is None:
            return None
        readers: dict[str, Callable[[], Awaitable[str]]] = {
            "stored": lambda: asyncio.to_thread(self._read_stored, user),
            "keyring": lambda: asyncio.to_thread(self._read_keyring, user),
            "gh": self._read_gh,
        }
        return Credential(kept, user, readers[kept])

    def server(self) -> Credential | None:
        """The server's: for everybody who has connected none of their own."""
        if self._token_file:
            return Credential("file", None, self._read_setting)
        if self._app is not None:
            return Credential("app", None, self._app.token)
        if name := self._variable():

            async def read() -> str:
                return self._environ.get(name, "")

            return Credential("environment", None, read)
        return None

    def _variable(self) -> str | None:
        """The environment variable that holds a token for our host, as `gh` would choose it."""
        names = ("GITHUB_TOKEN", "GH_TOKEN")
        if self.host != _PUBLIC:
            names = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", *names)
        return next((name for name in names if self._environ.get(name, "").strip()), None)

    # --- connecting ---

    async def store(self, user: str, token: str, *, where: Where = "file") -> None:
        """Keep the user's token, in place of what they had. PostdocError when it cannot be kept there."""
        secrets.register(token.strip())
        token = checked(token.strip())
        if where == "keyring":
            await asyncio.to_thread(_keyring_set, self._account(user), token)
            await asyncio.to_thread(self._write, user, {"source": "keyring"}, None)
        else:
            had = await asyncio.to_thread(self._choice, user)
            await asyncio.to_thread(self._write, user, {"source": "stored"}, token)
            if had == "keyring":
                await asyncio.to_thread(_keyring_delete, self._account(user))

    async def use_gh(self, user: str) -> None:
        """From now on `gh` is asked for the user's token; the token is not copied."""
        token = await self._read_gh()
        secrets.register(token)
        checked(token)
        had = await asyncio.to_thread(self._choice, user)
        await asyncio.to_thread(self._write, user, {"source": "gh"}, None)
        if had == "keyring":
            await asyncio.to_thread(_keyring_delete, self._account(user))

    async def forget(self, user: str) -> bool:
        """Remove what the user has connected; False when there was nothing. The token stays valid on GitHub."""
        had = await asyncio.to_thread(self._choice, user)
        if had == "keyring":
            await asyncio.to_thread(_keyring_delete, self._account(user))

        def remove() -> None:
            for path in (self._path(user, "token"), self._path(user, "json")):
                path.unlink(missing_ok=True)

        await asyncio.to_thread(remove)
        return had is not None

    async def choices(self) -> Choices:
        """Where a token could be kept, and whether `gh` could give one."""
        return Choices(True, await asyncio.to_thread(_keyring_usable), await self._gh_login())

    # --- a file of our own ---

    def _path(self, user: str, ending: str) -> Path:
        name = hashlib.sha256(f"{self.host}\n{user}".encode()).hexdigest()[:16]
        return self._folder / f"{name}.{ending}"

    def _account(self, user: str) -> str:
        return f"{self.host}/{user}"

    def _choice(self, user: str) -> Literal["stored", "keyring", "gh"] | None:
        try:
            found = json.loads(self._path(user, "json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise PostdocError(
                "github_auth",
                "What was kept of your connection to GitHub cannot be read.",
                next="Connect GitHub again.",
            ) from exc
        source = found.get("source") if isinstance(found, dict) else None
        return source if source in ("stored", "keyring", "gh") else None

    def _write(self, user: str, choice: Mapping[str, str], token: str | None) -> None:
        """The choice, and the token if it is kept in a file: whole or not at all, and on the disk."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            path = self._path(user, "token")
            if token is None:
                path.unlink(missing_ok=True)
            else:
                _put(path, token + "\n")
            _put(self._path(user, "json"), json.dumps({"version": 1, "host": self.host, **choice}))
        except OSError as exc:
            raise PostdocError(
                "storage_full" if exc.errno in (28, 122) else "forbidden",
                f"The token could not be kept: {exc.strerror}. Nothing was changed.",
                next="Free some space, or make the data directory writable for the server's user; then connect again.",
            ) from exc

    def _read_stored(self, user: str) -> str:
        return _read_private(self._path(user, "token"))

    async def _read_setting(self) -> str:
        return await asyncio.to_thread(_read_private, Path(self._token_file).expanduser())

    # --- the keyring ---

    def _read_keyring(self, user: str) -> str:
        token = _keyring_get(self._account(user))
        if not token:
            raise PostdocError(
                "github_auth",
                "The system's keyring has no GitHub token any more, or is locked. Your commits are safe locally.",
                next="Unlock the keyring, or connect GitHub again.",
            )
        return token

    # --- gh ---

    async def _gh_login(self) -> GhLogin:
        if shutil.which("gh", path=self._environ.get("PATH")) is None:
            return GhLogin(False)
        status = await self._gh("auth", "status", "--hostname", self.host)
        if status is None or status[0] != 0:
            return GhLogin(True)
        found = re.search(r"(?:account|as) ([A-Za-z0-9][A-Za-z0-9-]*)", status[1])
        return GhLogin(True, found[1] if found else "")

    async def _read_gh(self) -> str:
        answer = await self._gh("auth", "token", "--hostname", self.host)
        if answer is None:
            raise PostdocError(
                "github_auth",
                "The program `gh` is not here any more, or did not answer. Your commits are safe locally.",
                next="Install gh, or connect with a token.",
            )
        code, said = answer
        if code != 0 or not said.strip():
            raise PostdocError(
                "github_auth",
                f"`gh` is not logged in to {self.host}. Your commits are safe locally.",
                next=f"Run `gh auth login --hostname {self.host}`, then try again; or connect with a token.",
            )
        return said.strip()

    async def _gh(self, *args: str) -> tuple[int, str] | None:
        """Exit status and all that it said; None when it cannot be run or does not end. Its answer may be a token."""
        program = shutil.which("gh", path=self._environ.get("PATH"))
        if program is None:
            return None
        kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
        env = {name: self._environ[name] for name in (*kept, "GH_CONFIG_DIR", "LANG") if name in self._environ}
        env |= {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
        try:
            process = await asyncio.create_subprocess_exec(
                program, *args, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=env, start_new_session=True
            )
        except OSError:
            return None
        try:
            async with asyncio.timeout(GH_TIMEOUT_S):
                out, err = await process.communicate()
        except TimeoutError:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode is not None
        if args[1] == "token":
            return process.returncode, out.decode("utf-8", "replace")
        return process.returncode, (out + err).decode("utf-8", "replace")


# --- files ---


def _put(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _read_private(path: Path) -> str:
    """A token in a file that nobody else can read. PostdocError ``github_auth``."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise PostdocError(
                    "github_auth", f"{path.name} is not a file.", next="Correct PostdocApp.github_token_file."
                )
            if os.name == "posix" and mode & 0o077:
                raise PostdocError(
                    "github_auth",
                    f"The file with the GitHub token can be read by others (mode {stat.S_IMODE(mode):04o}), so it is "
                    "not used.",
                    next=f"Run: chmod 600 {path}",
                )
            return file.read(1 << 14)
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise PostdocError(
            "github_auth",
            f"The file with the GitHub token cannot be read: {why}. Your commits are safe locally.",
            next="Connect GitHub again, or correct PostdocApp.github_token_file.",
        ) from exc


# --- the keyring: an optional package, asked in a thread ---


def _keyring() -> Any | None:
    try:
        import keyring
        import keyring.backends.fail
        import keyring.backends.null
    except ImportError:
        return None
    try:
        backend: Any = keyring.get_keyring()
    except (RuntimeError, ValueError, OSError):
        return None
    unusable = (keyring.backends.fail.Keyring, keyring.backends.null.Keyring)
    plain = "plaintext" in f"{type(backend).__module__}.{type(backend).__qualname__}".lower()
    return None if isinstance(backend, unusable) or plain or backend.priority <= 0 else backend


def _keyring_usable() -> bool:
    return _keyring() is not None


def _keyring_error(exc: Exception) -> PostdocError:
    return PostdocError(
        "github_auth",
        f"The system's keyring did not do it: {type(exc).__name__}. Nothing was changed.",
        next="Unlock the keyring, or keep the token in a file.",
    )


def _keyring_call(verb: str, *args: str) -> Any:
    backend = _keyring()
    if backend is None:
        raise PostdocError(
            "github_auth",
            "There is no keyring here that could keep a token.",
            next="Keep it in a file, or `pip install keyring` and start a keyring service.",
        )
    from keyring.errors import KeyringError

    try:
        return getattr(backend, verb)(SERVICE, *args)
    except KeyringError as exc:
        raise _keyring_error(exc) from exc


def _keyring_get(account: str) -> str | None:
    found = _keyring_call("get_password", account)
    return None if found is None else str(found)


def _keyring_set(account: str, token: str) -> None:
    _keyring_call("set_password", account, token)


def _keyring_delete(account: str) -> None:
    with contextlib.suppress(PostdocError):
        _keyring_call("delete_password", account)


# --- a GitHub App ---


class _App:
    """Installation tokens of a GitHub App; each lives an hour and is renewed before it ends."""

    def __init__(self, settings: AppSettings, api_url: str) -> None:
        self._settings = settings
        self._api_url = api_url
        self._token = ""
        self._ends = 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        async with self._lock:
            if time.time() > self._ends - APP_SPARE_S:
                self._token, self._ends = await asyncio.to_thread(self._new)
            return self._token

    def _new(self) -> tuple[str, float]:
        key = _read_private(Path(self._settings.key_file).expanduser())
        secrets.register(key)
        import github

        try:
            integration = github.GithubIntegration(
                auth=github.Auth.AppAuth(self._settings.id, key), base_url=self._api_url, timeout=15, retry=None
            )
            number = self._settings.installation or self._find(integration)
            made = integration.get_access_token(number)
        except github.GithubException as exc:
            raise PostdocError(
                "github_auth",
                f"GitHub did not accept the App {self._settings.id} ({exc.status}). Your commits are safe locally.",
                next="Check PostdocApp.github_app_id, github_app_key_file and where the App is installed.",
            ) from exc
        except (ValueError, TypeError) as exc:  # the key is none
            raise PostdocError(
                "github_auth",
                "The file of PostdocApp.github_app_key_file does not hold a private key.",
                next="Download the App's private key again (PEM) and name that file.",
            ) from exc
        except OSError as exc:  # requests' exceptions are OSErrors
            raise PostdocError(
                "github_unreachable",
                "GitHub did not answer when the App asked for a token. Your commits are safe locally.",
                next="Try again in a moment.",
                retryable=True,
            ) from exc
        return made.token, made.expires_at.timestamp()

    def _find(self, integration: Any) -> int:
        wanted = self._settings.owner.lower()
        found = [one for one in integration.get_installations()]
        for one in found:
            if str(one.raw_data.get("account", {}).get("login", "")).lower() == wanted:
                return int(one.id)
        if len(found) == 1 and not wanted:
            return int(found[0].id)
        raise PostdocError(
            "github_auth",
            f"The GitHub App is not installed for {self._settings.owner or 'exactly one account'}.",
            next="Install it there, or set PostdocApp.github_installation_id.",
        )
