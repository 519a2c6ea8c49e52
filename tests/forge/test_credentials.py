"""Where tokens of GitHub come from and where they are kept: real files, a real program `gh`, a real keyring."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.credentials import AppSettings, Credentials

TOKEN = "github_pat_of_ana_0123456789abcdef"
OTHER = "github_pat_of_bob_0123456789abcdef"
API = "https://api.github.com"


def credentials(data_dir: Path, *, host: str = "github.com", environ: dict[str, str] | None = None, **more: Any) -> Any:
    """Credentials that see nothing of the machine's own environment."""
    return Credentials(data_dir, host=host, api_url=more.pop("api_url", API), environ=environ or {}, **more)


def put(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


async def refused(awaitable: Any, code: str = "github_auth") -> PostdocError:
    with pytest.raises(PostdocError) as caught:
        await awaitable
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert caught.value.next
    return caught.value


# --- a file of ours ---


async def test_a_stored_token_is_read_anew_and_kept_for_its_user_only(tmp_path: Path) -> None:
    ours = credentials(tmp_path)
    assert await ours.of("ana") is None
    await ours.store("ana", f"  {TOKEN}\n")
    kept = await ours.of("ana")
    assert (kept.source, kept.owner) == ("stored", "ana")
    assert await kept.token() == TOKEN
    assert await ours.of("bob") is None
    await ours.store("ana", OTHER)
    assert await kept.token() == OTHER, "it is read at every use"
    assert await credentials(tmp_path).of("ana") is not None, "and survives a restart"
    assert await credentials(tmp_path, host="ghe.example.org").of("ana") is None, "a token goes to its own host only"
    assert TOKEN not in repr(kept)
    assert OTHER not in repr(kept)
    assert OTHER not in str(vars(ours))


async def test_the_store_is_closed_to_others_and_holds_the_token_once(tmp_path: Path) -> None:
    (tmp_path / "github").mkdir(mode=0o755)
    await credentials(tmp_path).store("ana", TOKEN)
    assert stat.S_IMODE((tmp_path / "github").stat().st_mode) == 0o700
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert [path.suffix for path in files if TOKEN in path.read_text()] == [".token"]
    assert not [path for path in files if "ana" in path.name], "nobody's name is in a file name"


async def test_a_file_that_others_can_read_is_refused_with_a_sentence(tmp_path: Path) -> None:
    ours = credentials(tmp_path)
    await ours.store("ana", TOKEN)
    (path,) = (tmp_path / "github").glob("*.token")
    path.chmod(0o644)
    kept = await ours.of("ana")
    error = await refused(kept.token())
    assert "can be read by others (mode 0644)" in error.message
    assert error.next == f"Run: chmod 600 {path}"
    path.chmod(0o600)
    assert await kept.token() == TOKEN
    path.unlink()
    assert "cannot be read" in (await refused(kept.token())).message


async def test_a_link_in_place_of_the_token_is_not_followed_when_writing(tmp_path: Path) -> None:
    ours = credentials(tmp_path)
    await ours.store("ana", TOKEN)
    (path,) = (tmp_path / "github").glob("*.token")
    elsewhere = put(tmp_path / "elsewhere", "kept as it was")
    path.unlink()
    path.symlink_to(elsewhere)
    await ours.store("ana", OTHER)
    assert elsewhere.read_text() == "kept as it was"
    assert not path.is_symlink()


@pytest.mark.parametrize(
    "wrong", ["", "short", "a b" * 20, TOKEN + "\n" + OTHER, TOKEN + "\x00", "tökentökentökentöken", "x" * 4097]
)
async def test_what_is_no_token_is_refused_and_not_kept(tmp_path: Path, wrong: str) -> None:
    error = await refused(credentials(tmp_path).store("ana", wrong))
    assert not wrong or wrong not in error.message + error.next
    assert await credentials(tmp_path).of("ana") is None
    assert not list(tmp_path.rglob("*.token"))


async def test_forgetting_removes_it_and_says_whether_there_was_one(tmp_path: Path) -> None:
    ours = credentials(tmp_path)
    await ours.store("ana", TOKEN)
    await ours.store("bob", OTHER)
    assert await ours.forget("ana") is True
    assert await ours.forget("ana") is False
    assert await ours.of("ana") is None
    assert await (await ours.of("bob")).token() == OTHER
    assert not [path for path in (tmp_path / "github").iterdir() if TOKEN in path.read_text()]


async def test_a_broken_note_is_said_and_mended_by_connecting_again(tmp_path: Path) -> None:
    ours = credentials(tmp_path)
    await ours.store("ana", TOKEN)
    (note,) = (tmp_path / "github").glob("*.json")
    note.write_text("{")
    await refused(ours.of("ana"))
    await ours.store("ana", OTHER)
    assert await (await ours.of("ana")).token() == OTHER
    note.write_text("{")
    assert await ours.forget("ana") is True
    assert await ours.of("ana") is None


async def test_every_token_that_was_read_is_secret(tmp_path: Path) -> None:
    """Also one that somebody else wrote into the file."""
    written = "ghp_nobody_has_seen_this_before_4711"
    path = put(tmp_path / "token", written + "\n")
    assert secrets.redact(written) == written
    given = await credentials(tmp_path, token_file=str(path)).of("ana")
    assert await given.token() == written
    assert written not in secrets.redact(f"Authorization: token {written}")
    assert "never" not in secrets.redact(str(PostdocError("github_auth", f"said {written}")))
    assert written not in str(PostdocError("github_auth", f"GitHub said {written}."))


async def test_many_at_once_leave_a_whole_token(tmp_path: Path) -> None:
    ours = credentials(tmp_path)
    tokens = [f"github_pat_number_{n:03}_0123456789" for n in range(20)]
    await asyncio.gather(*(ours.store("ana", token) for token in tokens))
    assert await (await ours.of("ana")).token() in tokens
    assert len(list((tmp_path / "github").iterdir())) == 2, "nothing half-written is left"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        await refused(credentials(tmp_path).store("ana", TOKEN), "forbidden")
    finally:
        tmp_path.chmod(0o700)


# --- the server's ---


async def test_the_order_is_the_users_own_then_setting_then_environment(tmp_path: Path) -> None:
    path = put(tmp_path / "setting", OTHER)
    environ = {"GITHUB_TOKEN": "ghp_environment_0123456789ab", "GH_TOKEN": "ghp_second_0123456789abcdef"}
    ours = credentials(tmp_path, token_file=str(path), environ=environ)
    assert (await ours.of("ana")).source == "file"
    assert (await ours.of("ana")).owner is None
    await ours.store("ana", TOKEN)
    assert (await ours.of("ana")).source == "stored"
    assert (await ours.of("bob")).source == "file"
    bare = credentials(tmp_path / "other", environ=environ)
    found = await bare.of("ana")
    assert found.source == "environment"
    assert await found.token() == environ["GITHUB_TOKEN"]
    del environ["GITHUB_TOKEN"]
    assert await (await bare.of("ana")).token() == environ["GH_TOKEN"]


@pytest.mark.parametrize(
    ("host", "names", "wanted"),
    [
        ("github.com", ["GH_TOKEN", "GITHUB_TOKEN"], "GITHUB_TOKEN"),
        ("github.com", ["GH_ENTERPRISE_TOKEN"], None),
        ("ghe.example.org", ["GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"], "GH_ENTERPRISE_TOKEN"),
        ("ghe.example.org", ["GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN"], "GITHUB_ENTERPRISE_TOKEN"),
        ("ghe.example.org", ["GITHUB_TOKEN"], "GITHUB_TOKEN"),
    ],
)
async def test_which_variable_is_taken(tmp_path: Path, host: str, names: list[str], wanted: str | None) -> None:
    ours = credentials(tmp_path, host=host, environ={name: f"token-of-{name}-0123456789" for name in names})
    found = await ours.of("ana")
    assert (found is None) == (wanted is None)
    if found is not None:
        assert await found.token() == f"token-of-{wanted}-0123456789"


async def test_a_setting_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        given = await credentials(tmp_path, token_file=str(path)).of("ana")
        assert "github_token_file" in (await refused(given.token())).next
    wide = put(tmp_path / "wide", TOKEN, 0o640)
    assert "0640" in (await refused((await credentials(tmp_path, token_file=str(wide)).of("ana")).token())).message


# --- gh ---

GH = """#!/bin/sh
# Writes down how it was called, then answers as gh does.
env > "$HOME/environment"
echo "$@" >> "$HOME/calls"
[ -e "$HOME/hang" ] && sleep 60
case "$1 $2" in
  "auth token") [ -e "$HOME/token" ] || { echo "no oauth token found for github.com" >&2; exit 1; }; cat "$HOME/token";;
  "auth status") [ -e "$HOME/token" ] || exit 1; echo "  Logged in to github.com account ana (keyring)";;
  *) exit 2;;
esac
"""


@pytest.fixture
def gh(tmp_path: Path) -> dict[str, str]:
    """The environment of a server whose user has `gh`, and is logged in."""
    program = put(tmp_path / "bin" / "gh", GH, 0o755)
    put(tmp_path / "home" / "token", TOKEN + "\n")
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path / "home"), "GITHUB_TOKEN": OTHER, "ANTHROPIC_API_KEY": "sk-secret-0001"}


async def test_gh_is_asked_at_every_use_and_its_token_not_copied(tmp_path: Path, gh: dict[str, str]) -> None:
    ours = credentials(tmp_path / "data", environ=gh)
    assert (await ours.choices()).gh.login == "ana"
    await ours.use_gh("ana")
    kept = await ours.of("ana")
    assert kept.source == "gh"
    assert await kept.token() == TOKEN
    put(tmp_path / "home" / "token", OTHER)
    assert await kept.token() == OTHER
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file() and TOKEN in path.read_text()]
    assert "auth token --hostname github.com" in (tmp_path / "home" / "calls").read_text()
    seen = (tmp_path / "home" / "environment").read_text()
    assert "GITHUB_TOKEN" not in seen, "gh would answer with this one"
    assert "sk-secret" not in seen


async def test_without_gh_or_its_login_there_is_a_sentence(tmp_path: Path, gh: dict[str, str]) -> None:
    ours = credentials(tmp_path / "data", environ=gh)
    await ours.use_gh("ana")
    kept = await ours.of("ana")
    (tmp_path / "home" / "token").unlink()
    error = await refused(kept.token())
    assert "`gh` is not logged in to github.com" in error.message
    assert "gh auth login --hostname github.com" in error.next
    assert (await ours.choices()).gh.available
    assert (await ours.choices()).gh.login is None
    (tmp_path / "bin" / "gh").unlink()
    bare = credentials(tmp_path / "data", environ={"PATH": str(tmp_path / "bin")})
    assert "gh" in (await refused((await bare.of("ana")).token())).message
    assert not (await bare.choices()).gh.available
    await refused(bare.use_gh("bob"))
    assert await bare.of("bob") is None


async def test_a_gh_that_hangs_is_ended(tmp_path: Path, gh: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    from jupyterlab_postdoc.forge import gh as module

    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    put(tmp_path / "home" / "hang", "")
    begun = time.monotonic()
    await refused(credentials(tmp_path / "data", environ=gh).use_gh("ana"))
    assert time.monotonic() - begun < 5
    deadline = time.monotonic() + 5
    while found := [p for p in psutil.Process().children(recursive=True) if "sleep" in " ".join(_argv(p))]:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


def _argv(process: Any) -> list[str]:
    import psutil

    try:
        found: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return found


# --- the keyring ---


@pytest.fixture
def keyring() -> Iterator[Any]:
    """The package, with whatever backend it had given back afterwards."""
    package = pytest.importorskip("keyring")
    before = package.get_keyring()
    yield package
    package.set_keyring(before)


def backend(priority_: float = 5, *, module: str = "tests.keys") -> Any:
    """A backend that keeps passwords in memory, as the public interface for backends has it."""
    from keyring.backend import KeyringBackend
    from keyring.errors import PasswordDeleteError

    class Memory(KeyringBackend):
        priority = priority_

        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            if self.kept.pop((service, username), None) is None:
                raise PasswordDeleteError("There is none.")

    Memory.__module__ = module
    return Memory()


async def test_a_token_in_the_keyring_is_in_no_file(tmp_path: Path, keyring: Any) -> None:
    keys = backend()
    keyring.set_keyring(keys)
    ours = credentials(tmp_path)
    assert (await ours.choices()).keyring is True
    await ours.store("ana", OTHER)
    await ours.store("ana", TOKEN, where="keyring")
    kept = await ours.of("ana")
    assert kept.source == "keyring"
    assert await kept.token() == TOKEN
    assert list(keys.kept.values()) == [TOKEN]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and (TOKEN in p.read_text() or OTHER in p.read_text())]
    keys.kept.clear()
    assert "keyring has no GitHub token any more" in (await refused(kept.token())).message
    await ours.store("ana", TOKEN, where="keyring")
    assert await ours.forget("ana") is True
    assert keys.kept == {}
    await ours.store("ana", TOKEN, where="keyring")
    await ours.store("ana", OTHER)
    assert keys.kept == {}, "a token that was replaced is not left behind"
    assert await (await ours.of("ana")).token() == OTHER


async def test_keyrings_that_keep_plain_files_or_nothing_are_not_offered(tmp_path: Path, keyring: Any) -> None:
    from keyring.backends.fail import Keyring as Fail
    from keyring.backends.null import Keyring as Null

    for unusable in (Fail(), Null(), backend(0.5), backend(9, module="keyrings.alt.file")):
        keyring.set_keyring(unusable)
        assert (await credentials(tmp_path).choices()).keyring is False, unusable
        await refused(credentials(tmp_path).store("ana", TOKEN, where="keyring"), "bad_message")
    assert await credentials(tmp_path).of("ana") is None


async def test_a_locked_or_silent_keyring_is_a_sentence(
    tmp_path: Path, keyring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyring.errors import KeyringLocked

    from jupyterlab_postdoc.forge import keyrings as module

    keys = backend()
    keyring.set_keyring(keys)
    ours = credentials(tmp_path)
    await ours.store("ana", TOKEN, where="keyring")
    kept = await ours.of("ana")

    def locked(service: str, username: str) -> str:
        raise KeyringLocked("locked")

    keys.get_password = locked
    assert "KeyringLocked" in (await refused(kept.token())).message
    release = threading.Event()
    keys.get_password = lambda *_names: release.wait(20) and TOKEN
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    begun = time.monotonic()
    assert "did not answer" in (await refused(kept.token())).message
    assert time.monotonic() - begun < 5
    release.set()


async def test_without_the_package_it_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    assert (await credentials(tmp_path).choices()).keyring is False
    error = await refused(credentials(tmp_path).store("ana", TOKEN, where="keyring"), "bad_message")
    assert "pip install keyring" in error.next


# --- a GitHub App ---


class AppServer:
    """The three addresses of GitHub that an App needs. It checks the App's signature with the public key."""

    def __init__(self, public_key: bytes) -> None:
        self.calls: list[str] = []
        self.lifetime_s = 3600.0
        self.accounts = ["owl-lab", "ana"]
        self.status = 201
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on the terminal."""

            def _answer(self) -> None:
                import jwt

                server.calls.append(f"{self.command} {self.path.partition('?')[0]}")
                signed = self.headers.get("Authorization", "").removeprefix("Bearer ")
                try:
                    claims = jwt.decode(signed, public_key, algorithms=["RS256"])
                except jwt.PyJWTError:
                    return self._send(401, {"message": "A JSON web token could not be decoded"})
                assert str(claims["iss"]) == "4711"
                if self.path.startswith("/app/installations?") or self.path == "/app/installations":
                    address = f"http://{self.headers['Host']}"
                    return self._send(
                        200,
                        [
                            {"id": n + 1, "url": f"{address}/app/installations/{n + 1}", "account": {"login": login}}
                            for n, login in enumerate(server.accounts)
                        ],
                    )
                if server.status != 201:
                    return self._send(server.status, {"message": "no"})
                ends = datetime.fromtimestamp(time.time() + server.lifetime_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                number = sum("access_tokens" in call for call in server.calls)
                installation = self.path.split("/")[3]
                token = f"ghs_installation_{installation}_number_{number}"
                return self._send(201, {"token": token, "expires_at": ends, "permissions": {}})

            do_GET = do_POST = _answer

            def _send(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(scope="module")
def keys() -> tuple[str, bytes]:
    """A key pair: the private one as GitHub gives it to download."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public


@pytest.fixture
def app(tmp_path: Path, keys: tuple[str, bytes]) -> Iterator[tuple[AppServer, Any]]:
    """The server, and what makes Credentials of an App there."""
    server = AppServer(keys[1])
    path = put(tmp_path / "app.pem", keys[0])

    def make(installation: int = 0, owner: str = "owl-lab") -> Any:
        settings = AppSettings("4711", str(path), installation, owner)
        return credentials(tmp_path / "data", host="127.0.0.1", api_url=server.url, app=settings)

    yield server, make
    server.close()


async def test_an_app_gets_a_token_of_its_installation_and_renews_it_in_time(app: tuple[AppServer, Any]) -> None:
    server, make = app
    found = await make().of("ana")
    assert (found.source, found.owner) == ("app", None)
    tokens = await asyncio.gather(*(found.token() for _ in range(5)))
    assert set(tokens) == {"ghs_installation_1_number_1"}, "asked for once"
    assert server.calls == ["GET /app/installations", "POST /app/installations/1/access_tokens"]
    assert tokens[0] not in secrets.redact(tokens[0])
    server.lifetime_s = 299.0
    again = await make(owner="ANA").of("ana")
    assert await again.token() == "ghs_installation_2_number_2"
    assert await again.token() == "ghs_installation_2_number_3", "less than five minutes are left of the first"


async def test_the_installation_of_the_setting_is_not_looked_up(app: tuple[AppServer, Any]) -> None:
    server, make = app
    assert (await (await make(77).of("ana")).token()).startswith("ghs_installation_77_")
    assert server.calls == ["POST /app/installations/77/access_tokens"]


async def test_an_app_that_cannot_give_a_token_says_why(
    app: tuple[AppServer, Any], tmp_path: Path, keys: tuple[str, bytes]
) -> None:
    server, make = app
    assert "not installed for nobody" in (await refused((await make(owner="nobody").of("a")).token())).message
    assert "exactly one account" in (await refused((await make(owner="").of("a")).token())).message
    server.status = 404
    assert "github_installation_id" in (await refused((await make(77).of("a")).token())).next
    server.status = 502
    error = await refused((await make(77).of("a")).token(), "github_unreachable")
    assert error.retryable
    put(tmp_path / "app.pem", "-----BEGIN RSA PRIVATE KEY-----\nno key\n-----END RSA PRIVATE KEY-----\n")
    assert "does not hold a private key" in (await refused((await make(77).of("a")).token())).message
    put(tmp_path / "app.pem", keys[0], 0o644)
    assert (
        "private key of the GitHub App can be read by others"
        in (await refused((await make(77).of("a")).token())).message
    )
    server.close()
    put(tmp_path / "app.pem", keys[0])
    assert (await refused((await make(77).of("a")).token(), "github_unreachable")).retryable


def test_looking_for_a_keyring_starts_no_program() -> None:
    """The package's part for macOS would run a compiler, with the server's environment."""
    pytest.importorskip("keyring")
    code = (
        "import sys; started = []\n"
        "sys.addaudithook(lambda event, args: started.append(args[0]) if event == 'subprocess.Popen' else None)\n"
        "from jupyterlab_postdoc.forge import keyrings\n"
        "keyrings._backend(); print(started)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
