"""What the tests of pushes share: a checkout with steps, a source of tokens, a publisher and where it sends to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.forge.githttp import GitHttp

from jupyterlab_postdoc.forge.publisher import Destination, Publisher
from jupyterlab_postdoc.workspace.git import Git

TOKEN = "ghx_canary7Qm2LwZ9tR4vK1pX8"
NAME = "ana/owls"
BRANCH = "agent/owls/12345678"


@dataclass
class Source:
    """A credential: gives this token and counts."""

    value: str = TOKEN
    asked: int = 0

    async def token(self) -> str:
        self.asked += 1
        return self.value


@dataclass
class Study:
    """A checkout at ``root``; each step is a commit with its number as a trailer."""

    root: Path
    shas: list[str] = field(default_factory=list)

    async def step(self, files: Mapping[str, str | bytes | None], message: str = "") -> str:
        """Write the files (None: remove) and commit them."""
        git = Git()
        await git.init(self.root)
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content, encoding="utf-8")
        number = len(self.shas)
        done = await git.commit_all(
            self.root, subject=message or f"Step {number}", trailers={"Research-Step": str(number)}, when=1.7e9 + number
        )
        assert done is not None
        self.shas.append(done.sha)
        return done.sha

    @property
    def tip(self) -> str:
        return self.shas[-1]


async def study_of(root: Path, steps: int = 3) -> Study:
    """``steps`` commits of one file each."""
    root.mkdir()
    made = Study(root)
    for number in range(steps):
        await made.step({f"file{number}.txt": f"{number}\n"})
    return made


def there(server: GitHttp, name: str = NAME) -> Destination:
    return Destination(f"github.com/{name}", server.git_url(name), server.host)


def on_disk(tmp_path: Path, name: str = "remote") -> Destination:
    """A bare repository as the cheap remote."""
    bare = tmp_path / f"{name}.git"
    plain(tmp_path, "init", "-q", "--bare", "--initial-branch=main", str(bare))
    return Destination(f"disk/{name}/{name}", bare.as_uri())


def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "data", Git())


def copy_of(tmp_path: Path, to: Destination) -> Path:
    """The publisher's repository."""
    return tmp_path / "data" / "publish" / f"{to.key}.git"


def plain(cwd: Path, *argv: str) -> str:
    """The git of somebody else, without anybody's configuration."""
    who = {
        f"GIT_{role}_{part}": "somebody@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
    }
    env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *argv], cwd=cwd, env=env, capture_output=True, text=True, check=True).stdout.strip()
