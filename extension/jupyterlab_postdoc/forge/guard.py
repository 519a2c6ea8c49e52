"""What may not be sent to a remote: looks at every version of every file that is new to it, not just at the last one.

Secrets, files that are too large, links out of the tree, submodules and repositories inside, changed workflows, names
that not every computer can take. A finding says where something is, never what: no secret leaves this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.forge import patterns
from jupyterlab_postdoc.forge.objects import Objects, reading
from jupyterlab_postdoc.forge.paths import leaves_tree, name_problem, nested_git, touches_workflows
from jupyterlab_postdoc.protocol import Finding
from jupyterlab_postdoc.workspace.git import Git

MIB = 1 << 20
GITHUB_MAX = 100 * MIB
SKIPPED_ABOVE = MIB
"""Binary and data files above this are not searched for what looks like a secret, only for the secrets we know."""
MOST_FINDINGS = 100

_DATA = (
    ".csv", ".tsv", ".dat", ".txt", ".json", ".jsonl", ".ndjson", ".geojson", ".xml", ".parquet", ".feather", ".arrow",
    ".npy", ".npz", ".h5", ".hdf5", ".nc", ".fits", ".gz", ".zip", ".zst", ".xz", ".bz2", ".sqlite", ".db", ".pkl",
    ".fasta", ".fa", ".vcf", ".gml", ".graphml", ".sql", ".log", ".svg",
)  # fmt: skip
_STEP = re.compile(rb"^Research-Step:[ \t]*([^\n]{1,100})$", re.M)
_RAW = re.compile(r":+([0-7 ]+)")
_LINK, _SUBMODULE, _GONE = "120000", "160000", "000000"
_NOTHING = "0" * 40


@dataclass(frozen=True, slots=True)
class Policy:
    """``max_file_bytes`` is refused (100 MiB always), ``warn_bytes`` told. ``own_workflows``: path → SHA-256 (hex) of
    the contents that Postdoc itself writes there, or several of them.
    """

    max_file_bytes: int = 50 * MIB
    warn_bytes: int = 10 * MIB
    allow_workflows: bool = False
    own_workflows: Mapping[str, str | Collection[str]] = field(default_factory=dict)

    def is_own(self, path: str, digest: str) -> bool:
        """Whether that is what Postdoc writes."""
        known = self.own_workflows.get(path, ())
        return digest == known if isinstance(known, str) else digest in known


@dataclass(frozen=True, slots=True)
class _Change:
    """One path in one commit; ``blob`` is what it became (40 zeros: removed)."""

    commit: str
    mode: str
    blob: str
    path: str


async def scan(git: Git, bare: Path, tip: str, *, known: Collection[str], policy: Policy) -> list[Finding]:
    """The findings in the history of ``tip`` that is not in that of the ``known`` commits, blocking ones first.

    One for each place; the first commit that had it is named. At most 100, so that a report stays readable.
    """
    limits = [f"^{sha}" for sha in await present(git, bare, known)]
    env = {"GIT_DIR": str(bare)}
    listed = await git.run(
        *("log", "-z", "--raw", "-c", "--no-renames", "--no-abbrev", "--reverse", "--topo-order", "--no-mailmap"),
        *("--ignore-submodules=none", "--format=tformat:%H", tip, *limits, "--"),
        cwd=bare,
        env=env,
        timeout_s=300.0,
    )
    changes = list(_changes(listed.text))
    tree = await git.run("ls-tree", "-r", "-z", "--full-tree", tip, cwd=bare, env=env, timeout_s=300.0)
    newest = {line.split("\t", 1)[0].split(" ")[2] for line in tree.text.split("\0") if line}
    commits = list(dict.fromkeys(change.commit for change in changes))
    # Commits without a change have a message too.
    every = await git.run("rev-list", "--reverse", "--topo-order", tip, *limits, cwd=bare, env=env, timeout_s=300.0)
    commits = list(dict.fromkeys([*every.text.split(), *commits]))
    look = _Scan(policy, newest)
    return await reading(git, bare, lambda objects: look.run(objects, commits, changes))


async def present(git: Git, bare: Path, shas: Iterable[str]) -> list[str]:
    """Those of the commits that the repository has."""
    asked = sorted(set(shas))
    if not asked:
        return []
    stdin = "".join(f"{sha}\n" for sha in asked).encode()
    argv = ("cat-file", "--batch-check=%(objectname) %(objecttype)")
    found = await git.run(*argv, cwd=bare, env={"GIT_DIR": str(bare)}, stdin=stdin)
    return [line.split()[0] for line in found.text.splitlines() if line.endswith(" commit")]


def _changes(listed: str) -> Iterator[_Change]:
    """What `git log -z --raw` says. A path follows its own line at once, so none is taken for anything else."""
    commit, tokens = "", iter(listed.split("\0"))
    for token in tokens:
        line = token.lstrip("\n")
        if found := _RAW.match(line):
            parts = line.lstrip(":").split(" ")
            parents = len(line) - len(line.lstrip(":"))
            del found
            yield _Change(commit, parts[parents], parts[2 * parents + 1], next(tokens, ""))
        elif line:
            commit = line


class _Scan:
    """One look at a history; lives in a thread."""

    def __init__(self, policy: Policy, newest: Collection[str]) -> None:
        self._policy = policy
        self._newest = newest
        self._needles = secrets.needles()
        self._longest = max(map(len, self._needles), default=1)
        self._findings: dict[object, Finding] = {}
        self._steps: dict[str, str] = {}

    def run(self, objects: Objects, commits: list[str], changes: list[_Change]) -> list[Finding]:
        """All findings. ``commits`` and ``changes`` from the oldest to the newest."""
        for sha in commits:
            self._message(sha, objects.read(sha, "commit"))
        seen: set[str] = set()
        for change in changes:
            self._place(change)
            if change.mode == _SUBMODULE:
                self._add("submodule", change, "a submodule: what is in it is not published with the study")
            elif change.mode == _GONE or change.blob == _NOTHING:
                if touches_workflows(change.path) and not self._policy.allow_workflows:
                    self._add("workflow", change, "removes a workflow, which agents may not")
            elif change.mode == _LINK:
                self._link(change, objects.read(change.blob, "blob"))
            elif change.blob not in seen or touches_workflows(change.path):
                seen.add(change.blob)
                self._blob(change, objects)
            if len(self._findings) >= MOST_FINDINGS:
                break
        return sorted(self._findings.values(), key=lambda finding: not finding.blocking)

    def _message(self, sha: str, commit: bytes) -> None:
        text = commit.partition(b"\n\n")[2]
        steps = _STEP.findall(text)
        self._steps[sha] = steps[-1].decode("utf-8", "replace").strip() if steps else ""
        where = _Change(sha, "", "", "")
        for pattern, _, secret in patterns.find(commit):
            self._secret(where, f"looks like {pattern.kind} in the message of commit {sha[:10]}", None, secret)
        if any(needle in commit for needle in self._needles):
            self._secret(where, f"a secret of this server is in the message of commit {sha[:10]}", None, b"")

    def _place(self, change: _Change) -> None:
        """What the path alone says."""
        if change.mode == _GONE:
            return
        if nested_git(change.path):
            self._add("nested_git", change, "a repository inside the repository, or a name that git takes for one")
        elif problem := name_problem(change.path):
            reason, blocking = problem
            self._add("name", change, reason, blocking=blocking)
        raw = change.path.encode("utf-8", "surrogateescape")
        if any(needle in raw for needle in self._needles) or any(True for _ in patterns.find(raw)):
            # The path would show what must not be shown.
            clean = _Change(change.commit, change.mode, change.blob, "")
            self._secret(clean, "the name of a file holds what looks like a secret", None, raw)

    def _link(self, change: _Change, target: bytes) -> None:
        if touches_workflows(change.path) and not self._policy.allow_workflows:
            self._add("workflow", change, "a workflow that agents may not change")
        for pattern, _, secret in patterns.find(target):
            self._secret(change, f"looks like {pattern.kind}", None, secret)
        if any(needle in target for needle in self._needles):
            self._secret(change, "holds a secret of this server", None, b"")
        if leaves_tree(change.path, target.decode("utf-8", "surrogateescape")):
            self._add("link", change, "a symbolic link that leaves the repository")

    def _blob(self, change: _Change, objects: Objects) -> None:
        _, size, pieces = objects.pieces(change.blob)
        self._size(change, size)
        digest = hashlib.sha256() if touches_workflows(change.path) else None
        is_data = change.path.lower().endswith(_DATA)
        tail, line, searched = b"", 1, True
        for number, piece in enumerate(pieces):
            if digest is not None:
                digest.update(piece)
            if number == 0:
                binary = b"\0" in piece[:8000]
                searched = size <= SKIPPED_ABOVE or not (binary or is_data)
            window = tail + piece
            if any(needle in window for needle in self._needles):
                at = min(found for needle in self._needles if (found := window.find(needle)) >= 0)
                number_of_line = None if binary else line + window.count(b"\n", 0, at)
                self._secret(change, "holds a secret of this server", number_of_line, b"")
            if searched:
                for pattern, at, secret in patterns.find(window):
                    number_of_line = None if binary else line + window.count(b"\n", 0, at)
                    self._secret(change, f"looks like {pattern.kind}", number_of_line, secret)
            keep = max(self._longest, patterns.OVERLAP)
            line += window.count(b"\n", 0, max(len(window) - keep, 0))
            tail = window[-keep:]
        if digest is None or self._policy.allow_workflows or self._policy.is_own(change.path, digest.hexdigest()):
            return
        self._add("workflow", change, "a workflow that agents may not change")

    def _size(self, change: _Change, size: int) -> None:
        limit = min(self._policy.max_file_bytes, GITHUB_MAX)
        if size > limit:
            text = f"{_mb(size)}: larger than {_mb(limit)}; leave it to the data manifest and .gitignore"
            self._add("large_file", change, text)
        elif size > self._policy.warn_bytes:
            self._add("large_file", change, f"{_mb(size)}: large for a repository", blocking=False)

    def _secret(self, change: _Change, text: str, line: int | None, secret: bytes) -> None:
        """One finding for the same secret in the same file, however many versions of the file have it."""
        kept = hashlib.sha256(secret).digest()
        self._add("secret", change, text, line=line, key=("secret", change.path, kept, text if not secret else ""))

    def _add(
        self,
        kind: str,
        change: _Change,
        text: str,
        *,
        line: int | None = None,
        blocking: bool = True,
        key: object = None,
    ) -> None:
        if change.blob and change.mode not in (_GONE, _SUBMODULE) and change.blob not in self._newest:
            text = f"{text} (no longer in the newest version: one commit in place of the history leaves it out)"
        finding = Finding(
            kind=kind,  # type: ignore[arg-type]
            path=_shown(change.path),
            text=text,
            line=line,
            commit=change.commit,
            step=self._steps.get(change.commit, ""),
            blocking=blocking,
        )
        self._findings.setdefault(key or (kind, change.path), finding)


def _shown(path: str) -> str:
    """The path for a person: no control characters, no surrogates."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)[:500]


def _mb(size: int) -> str:
    return f"{size / MIB:.0f} MB" if size >= 10 * MIB else f"{size / MIB:.1f} MB"
