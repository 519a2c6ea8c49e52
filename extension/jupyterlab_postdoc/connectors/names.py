"""Names of remote tools as agents use them: ``mcp__<server>__<tool>``, at most 64 of the characters [A-Za-z0-9_-].

The first ``__`` after ``mcp__`` ends the server, so that no server's tools can pass for another's: a grant or a
persona's rule for ``mcp__papers__*`` reaches the server ``papers`` only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

LONGEST = 64
LONGEST_SERVER = 24
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")
_WILD = re.compile(r"[*?\[]")


def slugs(names: Iterable[str]) -> dict[str, str]:
    """For each server's name what stands for it: the name itself where it can, else a likeness with a check sum."""
    return _distinct(list(names), _slug, LONGEST_SERVER)


def tool_names(prefix: str, tools: Iterable[str]) -> dict[str, str]:
    """For each of a server's tools its name for agents; ``prefix`` is ``mcp__<server>__``."""
    short = _distinct(list(tools), _plain, LONGEST - len(prefix))
    return {tool: prefix + name for tool, name in short.items()}


def may_fit(patterns: Sequence[str] | None, prefix: str) -> bool:
    """Whether one of these patterns (None: everything) can fit a name that begins with ``prefix``."""
    if patterns is None:
        return True
    for pattern in patterns:
        found = _WILD.search(pattern)
        fixed = pattern if found is None else pattern[: found.start()]
        if fixed.startswith(prefix) or (found is not None and prefix.startswith(fixed)):
            return True
    return False


def _plain(tool: str) -> str:
    name = _OTHER.sub("_", tool)
    return name if name.strip("_-") else "tool"


def _slug(name: str) -> str:
    return re.sub(r"__+", "_", _OTHER.sub("_", name)).strip("_") or "server"


def _distinct(names: list[str], plain: Callable[[str], str], longest: int) -> dict[str, str]:
    """Who cannot keep its name, because it is too long or another one's, gets one with a check sum of the original."""
    found = {name: name for name in names if plain(name) == name and len(name) <= longest}
    taken = set(found)
    for name in names:
        if name in found:
            continue
        likeness = plain(name)
        if len(likeness) > longest or likeness in taken or sum(plain(other) == likeness for other in names) > 1:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            likeness = f"{likeness[: longest - 9].rstrip('_')}_{digest}"
        taken.add(likeness)
        found[name] = likeness
    return found
