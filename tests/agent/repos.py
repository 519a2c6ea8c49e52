"""Repositories of other people, for tests: real git, on the disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

THEIRS = {
    "README.md": "# Owls\n\nOur own readme.\n",
    "LICENSE": "All of it is ours.\n",
    "pyproject.toml": '[project]\nname = "owls"\nversion = "3"\n',
    "requirements.lock": "left-pad==1\n",
    "CITATION.cff": "cff-version: 1.2.0\n",
    ".gitignore": "*.tmp\n",
    ".gitattributes": "*.bin binary\n",
    "AGENTS.md": "Ours.\n",
    "src/owls.py": "def hoot() -> str:\n    return 'hoo'\n",
    "data/README.md": "Our data.\n",
    "crlf.txt": "one\r\ntwo\r\n",
}


def run(place: Path, *argv: str, stdin: bytes | None = None) -> str:
    who = {f"GIT_{role}_{part}": "Olga" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    env = {**os.environ, **who, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", "-C", str(place), *argv], env=env, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def foreign(place: Path, files: Mapping[str, str] = THEIRS, *, branch: str = "main") -> Path:
    """A repository with one commit of these files; without files an empty one."""
    place.mkdir(parents=True)
    run(place, "init", "--quiet", f"--initial-branch={branch}")
    for path, text in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(text.encode())
    if files:
        run(place, "add", "--all", "--force")
        run(place, "commit", "--quiet", "-m", "Owls")
    return place


def blobs(place: Path, commit: str = "HEAD") -> dict[str, str]:
    """Path → mode and sha of every file of a commit."""
    listed = run(place, "ls-tree", "-r", "--full-tree", commit).splitlines()
    return {path: about for about, _, path in (line.partition("\t") for line in listed)}
