"""History that is sent in place of the real one: without the workflows a token may not change, or as one commit.

The same input always gives the same commits: a second publication goes on where the first one ended.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from jupyterlab_postdoc.forge.objects import Objects

WORKFLOWS = (b".github", b"workflows")
_TREE_MODE = b"40000"
_PACK_KINDS = {"commit": 1, "tree": 2}
_HEADER = re.compile(rb"([a-z]+) (.*(?:\n .*)*)\n")
# A signature is one of the commit as it was; mergetag repeats what it signed.
_SIGNATURES = (b"gpgsig", b"gpgsigsha256", b"mergetag")

Entry = tuple[bytes, bytes]
"""Mode and raw sha of a tree's entry."""


@dataclass(slots=True)
class Rewriter:
    """Makes commits out of those of a repository; what is new is collected in ``made``."""

    objects: Objects
    made: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """sha → kind and content."""
    _trees: dict[str, str] = field(default_factory=dict)

    def history(self, commits: Sequence[str], base: str | None) -> dict[str, str]:
        """Each commit (parents before children) → the one sent in its place, whose workflows are those of ``base``.

        None: no workflows at all. A commit that is right as it is, on parents that are, keeps its sha.
        """
        kept = self._workflows(self.tree_of(base)) if base else None
        sent: dict[str, str] = {}
        for sha in commits:
            headers, message = _parse(self.objects.read(sha, "commit"))
            tree = next(value for key, value in headers if key == b"tree").decode()
            parents = [value.decode() for key, value in headers if key == b"parent"]
            new_tree = self._with_workflows(tree, kept)
            new_parents = [sent.get(parent, parent) for parent in parents]
            if (new_tree, new_parents) == (tree, parents):
                sent[sha] = sha
                continue
            rest = [(key, value) for key, value in headers if key not in (b"tree", b"parent", *_SIGNATURES)]
            sent[sha] = self._commit(new_tree, new_parents, rest, message)
        return sent

    def single(self, base: str, tip: str, message: str) -> str:
        """One commit on ``base`` that brings everything to the state of ``tip``, with the authors and dates of that."""
        headers, _ = _parse(self.read_commit(tip))
        who = [(key, value) for key, value in headers if key in (b"author", b"committer")]
        text = message.encode("utf-8", "replace").replace(b"\0", b"").rstrip() + b"\n"
        return self._commit(self.tree_of(tip), [base], who, text)

    def tree_of(self, commit: str) -> str:
        """The sha of the commit's tree."""
        return self.read_commit(commit)[5:45].decode()

    def read_commit(self, sha: str) -> bytes:
        """A commit of the repository, or one that was just made."""
        return self.made[sha][1] if sha in self.made else self.objects.read(sha, "commit")

    def _commit(self, tree: str, parents: Sequence[str], rest: Sequence[tuple[bytes, bytes]], message: bytes) -> str:
        lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
        lines += [key + b" " + value for key, value in rest]
        return self._keep("commit", b"\n".join(lines) + b"\n\n" + message)

    def _workflows(self, tree: str) -> Entry | None:
        outer = self._entries(tree).get(WORKFLOWS[0])
        if outer is None or outer[0] != _TREE_MODE:
            return None
        return self._entries(outer[1].hex()).get(WORKFLOWS[1])

    def _with_workflows(self, tree: str, kept: Entry | None) -> str:
        """The tree with this entry, or none, at `.github/workflows`."""
        if tree not in self._trees:
            self._trees[tree] = tree if self._workflows(tree) == kept else self._changed(tree, kept)
        return self._trees[tree]

    def _changed(self, tree: str, kept: Entry | None) -> str:
        entries = self._entries(tree)
        outer = entries.get(WORKFLOWS[0])
        inside = self._entries(outer[1].hex()) if outer is not None and outer[0] == _TREE_MODE else {}
        inside.pop(WORKFLOWS[1], None)
        if kept is not None:
            inside[WORKFLOWS[1]] = kept
        entries.pop(WORKFLOWS[0], None)
        if inside:
            entries[WORKFLOWS[0]] = (_TREE_MODE, bytes.fromhex(self._tree(inside)))
        return self._tree(entries)

    def _entries(self, tree: str) -> dict[bytes, Entry]:
        raw = self.made[tree][1] if tree in self.made else self.objects.read(tree, "tree")
        entries, at = {}, 0
        while at < len(raw):
            end = raw.index(b"\0", at)
            mode, _, name = raw[at:end].partition(b" ")
            entries[name] = (mode, raw[end + 1 : end + 21])
            at = end + 21
        return entries

    def _tree(self, entries: dict[bytes, Entry]) -> str:
        # git sorts directories as if their names ended in a slash.
        ordered = sorted(entries.items(), key=lambda item: item[0] + (b"/" if item[1][0] == _TREE_MODE else b""))
        return self._keep("tree", b"".join(mode + b" " + name + b"\0" + raw for name, (mode, raw) in ordered))

    def _keep(self, kind: str, content: bytes) -> str:
        sha = hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        self.made[sha] = (kind, content)
        return sha


def pack(made: dict[str, tuple[str, bytes]]) -> bytes:
    """The objects as a pack that ``git index-pack --stdin`` takes."""
    parts = [b"PACK", struct.pack(">II", 2, len(made))]
    for kind, content in made.values():
        size = len(content)
        byte, size = _PACK_KINDS[kind] << 4 | size & 15, size >> 4
        head = bytearray()
        while size:
            head.append(byte | 128)
            byte, size = size & 127, size >> 7
        head.append(byte)
        parts += [bytes(head), zlib.compress(content, 1)]
    body = b"".join(parts)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _parse(commit: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers in their order (a value may go over several lines), and the message."""
    headers, at = [], 0
    while found := _HEADER.match(commit, at):
        headers.append((found[1], found[2]))
        at = found.end()
    return headers, commit[at + 1 :]
