"""Packages from the index that this computer's uv or pip is set up with, into a folder: wheels only, nothing is built.

No code of a package runs here. pip and uv run on this server's own Python, never on a project's, and outside of the
sandbox: they need the network. A wheel is unpacked and compiled to bytecode; a source distribution would run its own
program to be built, so none is taken.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.installed import normal
from jupyterlab_postdoc.workspace.processes import Completed, Limits, run

INSTALL_S = 900.0
LIMITS = Limits(memory_bytes=None, total_bytes=4 << 30, file_bytes=8 << 30)
PASSED = re.compile(
    r"HOME|USER|LOGNAME|LANG|LC_ALL|TMPDIR|XDG_(CONFIG_HOME|CONFIG_DIRS|CACHE_HOME)|NETRC"
    r"|(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|PIP_(CONFIG_FILE|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|CACHE_DIR"
    r"|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|CONSTRAINT|PRE|KEYRING_PROVIDER)"
    r"|UV_(CONFIG_FILE|INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INDEX_STRATEGY|INSECURE_HOST"
    r"|CACHE_DIR|OFFLINE|HTTP_TIMEOUT|HTTP_RETRIES|NATIVE_TLS|SYSTEM_CERTS|LINK_MODE|CONSTRAINT|EXCLUDE_NEWER"
    r"|PRERELEASE|KEYRING_PROVIDER|TORCH_BACKEND|INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD))"
)
"""All that an installer gets of our environment: where the user's configuration lies, and the way to the index, be
there a password in it: that is meant for uv or pip and for nobody else.
"""
PIP_SPEAKS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX")
UV_SPEAKS = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")
PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "no-index")


@dataclass(frozen=True)
class Job:
    """What is asked for (requirements), and what must stay as it is: names to versions."""

    wanted: Sequence[str]
    kept: Mapping[str, str]


class Installer:
    """uv when it is there, else pip; pip, too, when only pip was told of an index (a mirror of the house)."""

    def __init__(self, environ: Mapping[str, str] | None = None, *, uv: bool | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._uv = uv

    @cached_property
    def uv(self) -> str | None:
        """The program uv, when it is the one that installs."""
        if self._uv is False:
            return None
        beside = sysconfig.get_path("scripts")
        found = shutil.which("uv", path=os.pathsep.join([beside, self._environ.get("PATH", os.defpath)]))
        if found is None or self._uv:
            return found
        only_pip_knows = self._pip_speaks() and not self._uv_speaks() and _has_pip()
        return None if only_pip_knows else found

    @property
    def name(self) -> str:
        return "uv" if self.uv else "pip"

    def environment(self) -> dict[str, str]:
        """What uv or pip sees: nothing secret but what leads to the index."""
        given = {name: value for name, value in self._environ.items() if PASSED.fullmatch(name)}
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        ours = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_NO_INPUT": "1", "UV_PYTHON_DOWNLOADS": "never"}
        return {"LANG": "C.UTF-8", **given, "PATH": path, "NO_COLOR": "1", "UV_NO_PROGRESS": "1", **ours}

    async def resolve(self, job: Job, work: Path) -> dict[str, str]:
        """What has to come beside what there is: name to version. ``work`` is an empty folder for its files.

        PostdocError tool_failed: no such package, no wheel, versions that do not go together, no way to the index.
        """
        wanted, constraints = work / "wanted.txt", work / "constraints.txt"
        wanted.write_text("".join(f"{line}\n" for line in job.wanted), encoding="utf-8")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in job.kept.items()), encoding="utf-8")
        options = ["--only-binary", ":all:", "--constraint", str(constraints), "--requirement", str(wanted)]
        return await (self._resolve_uv if self.uv else self._resolve_pip)(options, job, work)

    async def fetch(self, pins: Mapping[str, str], target: Path, work: Path) -> None:
        """Unpack exactly these wheels into ``target``. PostdocError as for resolve, and storage_full."""
        listed = work / "pins.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
        common = ["--no-deps", "--only-binary", ":all:", "--target", str(target), "--requirement", str(listed)]
        if self.uv:
            uv = [str(self.uv), "pip", "install", "--quiet", "--python", sys.executable, "--compile-bytecode"]
            await self._call([*uv, *common], work, list(pins))
        else:
            await self._call([*_pip("install"), *common], work, list(pins))

    async def _resolve_pip(self, options: Sequence[str], job: Job, work: Path) -> dict[str, str]:
        """On this server's Python pip counts what is installed there as there; its report holds the rest."""
        report = work / "report.json"
        await self._call([*_pip("install"), "--dry-run", "--report", str(report), *options], work, job.wanted)
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
        return {normal(item["metadata"]["name"]): str(item["metadata"]["version"]) for item in items}

    async def _resolve_uv(self, options: Sequence[str], job: Job, work: Path) -> dict[str, str]:
        """So does uv, whose dry run tells every package that would come: `` + name==version``."""
        dry = ["pip", "install", "--dry-run", "--python", sys.executable, "--break-system-packages"]
        done = await self._call([str(self.uv), *dry, *options], work, job.wanted)
        lines = (line.strip() for line in (done.stderr + done.stdout).splitlines())
        pins = (line.removeprefix("+ ").partition("==") for line in lines if line.startswith("+ "))
        return {normal(name): version for name, _, version in pins if version}

    async def _call(self, argv: Sequence[str], work: Path, wanted: Sequence[str]) -> Completed:
        """Run it in ``work``, where no file of a project is: uv reads the settings of folders above it."""
        done = await run(argv, cwd=work, env=self.environment(), timeout=INSTALL_S, limits=LIMITS, max_output=200_000)
        if done.returncode != 0 or done.end != "exit":
            raise failure(done, wanted, self.name)
        return done

    def _pip_speaks(self) -> bool:
        """Whether pip was told where packages are, by a variable or in a file."""
        if any(self._environ.get(name) for name in PIP_SPEAKS):
            return True
        from configparser import ConfigParser, Error  # not at every start of a server

        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read([path for path in self._pip_files() if path.is_file()], encoding="utf-8")
        except (Error, OSError, UnicodeDecodeError):
            return True  # pip itself will say what is wrong with it
        sections = [section for section in ("global", "install") if parser.has_section(section)]
        return any(parser.has_option(section, option) for section in sections for option in PIP_OPTIONS)

    def _pip_files(self) -> list[Path]:
        home = Path(self._environ.get("HOME") or Path.home())
        config = Path(self._environ.get("XDG_CONFIG_HOME") or home / ".config")
        named = self._environ.get("PIP_CONFIG_FILE")
        found = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip" / "pip.conf"]
        found += [config / "pip" / "pip.conf", Path(sys.prefix) / "pip.conf"]
        return [*found, Path(named)] if named else found

    def _uv_speaks(self) -> bool:
        home = Path(self._environ.get("HOME") or Path.home())
        config = Path(self._environ.get("XDG_CONFIG_HOME") or home / ".config")
        files = (config / "uv" / "uv.toml", Path("/etc/uv/uv.toml"), Path("/etc/xdg/uv/uv.toml"))
        return any(self._environ.get(name) for name in UV_SPEAKS) or any(path.is_file() for path in files)


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None


def _pip(verb: str) -> list[str]:
    if not _has_pip():
        raise PostdocError(
            "tool_failed",
            "Packages cannot be installed here: neither uv nor pip is there.",
            next="Run `pip install uv` in the server's environment, or install the package there yourself.",
        )
    quiet = ["--quiet", "--disable-pip-version-check", "--no-color", "--progress-bar", "off"]
    return [sys.executable, "-P", "-m", "pip", verb, *quiet, "--no-warn-script-location"]


def failure(done: Completed, wanted: Sequence[str], program: str) -> PostdocError:
    """Why nothing was installed, as a sentence; addresses are left out, since they may hold a password."""
    names, said = ", ".join(wanted), done.stderr + done.stdout
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if done.timed_out:
        return _failed(f"Installing {names} took longer than {INSTALL_S / 60:g} minutes.", "Try again later.")
    if "No space left" in said or "Disk quota" in said:
        return PostdocError("storage_full", f"The disk is full: {names} was not installed.", next="Free some space.")
    if _any(said, "ResolutionImpossible", "conflicting dependencies", "unsatisfiable") and not _any(
        said, "was not found", "no wheels", "no usable wheels", "from versions: none"
    ):
        return _failed(
            f"{names} cannot stand beside the packages that run the notebook: their versions do not go together.",
            "Ask for another version, or do without the package.",
        )
    if _any(
        said, "Connection", "timed out", "dns error", "name resolution", "Failed to fetch", "error sending request"
    ):
        return _failed(
            "The package index could not be reached.",
            "Check the network of the server, its proxy, and the index that pip or uv is set up with; then try again.",
        )
    if _any(said, "No matching distribution", "was not found", "no wheels", "no usable wheels", "building source"):
        return _failed(
            f"The package index has no ready-made package (wheel) of {names} for {python} on this system. "
            "Packages are not built here, since that would run their programs outside of the sandbox.",
            "Check the package's name and version, or do without it.",
        )
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("WARNING")]
    last = next((line for line in lines if "rror" in line), lines[-1] if lines else f"exit code {done.returncode}")
    return _failed(f"{program} could not install {names}: {_without_addresses(last)}", "See the message; try again.")


def _failed(message: str, next: str) -> PostdocError:
    return PostdocError("tool_failed", message, next=next)


def _any(text: str, *words: str) -> bool:
    return any(word in text for word in words)


def _without_addresses(line: str) -> str:
    plain = re.sub(r"\b[a-z+]+://\S+", "(address)", re.sub(r"\s+", " ", line))
    plain = re.sub(r"(?<!\w)/\S+", "(path)", plain)
    return re.sub(r"^(ERROR|error|×)[: ]+", "", plain.strip())[:300].rstrip(". ") + "."


def requirement(text: str) -> str:
    """A requirement as an index understands it (``scikit-learn>=1.4``); nothing else reaches an installer.

    PostdocError bad_message for an address, a file, an option: those could be anything.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(text.strip())
    except InvalidRequirement:
        parsed = None
    if parsed is None or parsed.url or parsed.marker or len(text) > 200 or "\n" in text.strip():
        raise PostdocError(
            "bad_message",
            f"{text.strip()[:100]!r} does not name a package.",
            next="Give a name as in a package index, with a version if need be: scikit-learn>=1.4.",
        )
    extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
    return f"{normal(parsed.name)}{extras}{parsed.specifier}"
