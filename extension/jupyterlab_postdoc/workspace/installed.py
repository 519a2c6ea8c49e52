"""Which packages are installed, in a project's own environment and behind it in this server's; nothing is imported."""

from __future__ import annotations

import importlib.machinery
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import metadata
from pathlib import Path


def normal(name: str) -> str:
    """A distribution's name as indexes compare it: ``Foo.Bar_baz`` → ``foo-bar-baz``."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Installed:
    """Distributions by name, those of ``first`` (a project's own) before this server's. Blocking: it reads folders."""

    def __init__(self, first: Path | None = None) -> None:
        self.path = [*([str(first)] if first is not None else []), *sys.path]

    def has_module(self, name: str) -> bool:
        """Whether ``import name`` would find something; only the part before the first dot is looked for."""
        top = name.partition(".")[0]
        return top in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(top, self.path) is not None

    def version(self, name: str) -> str | None:
        """The version of a distribution, or None when it is not installed."""
        found = self._distribution(name)
        return found.version if found is not None else None

    @cached_property
    def providers(self) -> dict[str, list[str]]:
        """Top-level module to the names of the distributions that hold it."""
        found: dict[str, list[str]] = {}
        for distribution in metadata.distributions(path=self.path):
            name = distribution.metadata["Name"]
            for module in _modules(distribution) if name else ():
                owners = found.setdefault(module, [])
                if name not in owners:
                    owners.append(name)
        return found

    def closure(self, names: Iterable[str]) -> dict[str, str]:
        """The distributions and all they require on this interpreter and platform: name to version, sorted."""
        found: dict[str, str] = {}
        todo: list[tuple[str, frozenset[str]]] = [(normal(name), frozenset()) for name in names]
        seen: set[tuple[str, frozenset[str]]] = set()
        while todo:
            name, extras = todo.pop()
            if (name, extras) in seen:
                continue
            seen.add((name, extras))
            if version := self.version(name):
                found[name] = version
                todo.extend(self._needs(name, extras))
        return dict(sorted(found.items()))

    def broken_by(self, pins: Mapping[str, str]) -> set[str]:
        """The distributions that cannot work with these versions (normal names) in place of what they have now."""
        from packaging.requirements import InvalidRequirement, Requirement

        found: set[str] = set()
        if not any(self.version(name) for name in pins):
            return found
        for distribution in metadata.distributions(path=self.path):
            name = normal(distribution.metadata["Name"] or "")
            for line in (distribution.requires or ()) if name and name not in pins else ():
                with suppress(InvalidRequirement):
                    needed = Requirement(line)
                    version = pins.get(normal(needed.name))
                    applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
                    if version and applies and not needed.specifier.contains(version, prereleases=True):
                        found.add(name)
        return found

    def _needs(self, name: str, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
        from packaging.requirements import InvalidRequirement, Requirement

        found = self._distribution(name)
        needs = []
        for line in (found.requires if found is not None else None) or ():
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                continue
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                needs.append((normal(requirement.name), frozenset(requirement.extras)))
        return needs

    def _distribution(self, name: str) -> metadata.Distribution | None:
        return next(iter(metadata.Distribution.discover(name=name, path=self.path)), None)


def _modules(distribution: metadata.Distribution) -> set[str]:
    """The top-level names that a distribution brings, from its own list or from its files."""
    if listed := (distribution.read_text("top_level.txt") or "").split():
        return set(listed)
    found = set()
    for file in distribution.files or ():
        name = file.parts[0] if len(file.parts) > 1 else _module(file.name)
        if name.isidentifier():
            found.add(name)
    return found


def _module(file: str) -> str:
    """``six.py`` and ``_cffi.cpython-311-x86_64-linux-gnu.so`` are modules; other files are none."""
    for suffix in (*importlib.machinery.SOURCE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES):
        if file.endswith(suffix):
            return file.removesuffix(suffix)
    return ""
