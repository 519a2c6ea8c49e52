"""Where templates are found, and which one fits a topic."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.templates.model import FILES, Origin, Template, TemplateError, load

ENTRY_POINT_GROUP = "jupyterlab_postdoc.templates"
Stamp = tuple[tuple[int, int], ...]
# Named here because the class has a method called `list`.
Templates = list[Template]
Problems = list[tuple[Path, str]]
Roots = list[tuple[Path, Origin]]
_WORD = re.compile(r"[^\W_]+")


class TemplateRegistry:
    """Templates of the given folders, the Jupyter data paths, the entry points and the package, in that order.

    The first template of a name wins. A folder is read again only when one of its files changed.
    """

    def __init__(self, extra_paths: Sequence[Path] = ()) -> None:
        self._extra = [Path(path) for path in extra_paths]
        self._cache: dict[tuple[Path, Origin], tuple[Stamp, Template | str]] = {}
        self._entry_points: Problems | None = None

    def list(self) -> Templates:
        """All usable templates by name."""
        return sorted(self._scan()[0].values(), key=lambda template: template.name)

    def get(self, name: str) -> Template:
        """The template of that name. Raises PostdocError("not_found") that proposes a close name."""
        found = self._scan()[0]
        if name in found:
            return found[name]
        close = difflib.get_close_matches(name.lower(), list(found), n=1, cutoff=0.5)
        hint = f"Did you mean `{close[0]}`? " if close else ""
        raise PostdocError(
            "not_found",
            f"There is no research template named `{name[:100]}`.",
            next=f"{hint}Available: {', '.join(sorted(found)) or 'none'}.",
        )

    def problems(self) -> Problems:
        """Folders that look like templates and cannot be used, each with a sentence that says why."""
        return self._scan()[1]

    def match(self, topic: str) -> Template | None:
        """The one template whose keywords fit the topic best; None when none fits or several fit equally well."""
        best = self.candidates(topic)
        return best[0] if len(best) == 1 else None

    def candidates(self, topic: str) -> Templates:
        """The templates that fit the topic best, by name: more than one means that a person has to choose."""
        scored = [(score, template) for template in self.list() if (score := _score(topic, template)) > (0, 0, 0)]
        if not scored:
            return []
        top = max(score for score, _ in scored)
        return [template for score, template in scored if score == top]

    def _scan(self) -> tuple[dict[str, Template], Problems]:
        found: dict[str, Template] = {}
        problems: Problems = []
        for folder, origin in self._folders(problems):
            result = self._load(folder, origin)
            if isinstance(result, str):
                problems.append((folder, result))
            elif result.name in found and origin == "package":
                continue  # a user's template of that name replaces ours on purpose
            elif result.name in found:
                problems.append((folder, f"`{result.name}` is already defined in {found[result.name].path}."))
            else:
                found[result.name] = result
        return found, problems

    def _load(self, folder: Path, origin: Origin) -> Template | str:
        stamp = _stamp(folder)
        cached = self._cache.get((folder, origin))
        if cached is not None and cached[0] == stamp:
            return cached[1]
        result: Template | str
        try:
            result = load(folder, origin)
        except TemplateError as error:
            result = str(error)
        self._cache[folder, origin] = (stamp, result)
        return result

    def _folders(self, problems: Problems) -> Iterator[tuple[Path, Origin]]:
        from jupyter_core.paths import jupyter_path

        seen: set[Path] = set()
        roots: Roots = [(path, "user") for path in self._extra]
        roots += [(Path(path) / "postdoc" / "templates", "user") for path in jupyter_path()]
        if self._entry_points is None:
            self._entry_points = _entry_point_roots()
        for path, problem in self._entry_points:
            if problem:
                problems.append((path, problem))
            else:
                roots.append((path, "entry_point"))
        roots.append((package_root(), "package"))
        for root, origin in roots:
            for folder in _template_folders(root):
                resolved = folder.resolve()
                if resolved not in seen:
                    seen.add(resolved)
                    yield folder, origin


def package_root() -> Path:
    """The folder of the templates that ship with the package: inside a wheel, or the checkout it is installed from."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "research_templates"
    return installed if installed.is_dir() else package.parent.parent / "research_templates"


def _template_folders(root: Path) -> Iterator[Path]:
    """`root` itself when it is a template, else its sub-folders that are."""
    if (root / "template.yaml").is_file():
        yield root
        return
    try:
        children = sorted(root.iterdir())
    except OSError:
        return
    for child in children:
        if not child.name.startswith((".", "_")) and (child / "template.yaml").is_file():
            yield child


def _stamp(folder: Path) -> Stamp:
    marks = []
    for name in FILES:
        try:
            status = (folder / name).stat()
            marks.append((status.st_mtime_ns, status.st_size))
        except OSError:
            marks.append((0, -1))
    return tuple(marks)


def _entry_point_roots() -> list[tuple[Path, str]]:
    """(folder, "") for each entry point, or (name as path, sentence) when it cannot be loaded."""
    from importlib.metadata import entry_points

    roots: list[tuple[Path, str]] = []
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            roots.append((_as_folder(point.load()), ""))
        except Exception as error:  # noqa: BLE001 - somebody else's package must not take ours down
            roots.append((Path(point.name), f"Entry point {point.name} ({point.value}) failed: {error!r}."))
    return roots


def _as_folder(target: Any) -> Path:
    """An entry point names a path, a function that returns one, or a package that holds template folders."""
    if callable(target):
        target = target()
    if isinstance(target, str | Path):
        return Path(target)
    if getattr(target, "__file__", None):
        return Path(target.__file__).parent
    raise TypeError("expected a path, a function that returns a path, or a package")


def _words(text: str) -> set[str]:
    """Lower-case words, plural s removed, so that "Short-Term Reversals" finds "short term reversal"."""
    words = _WORD.findall(text.casefold())
    return {word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words}


def _score(topic: str, template: Template) -> tuple[int, int, int]:
    """(named as a default, words of the longest keyword found, words of all keywords found)."""
    topic_words = _words(topic)
    named = any(_words(text) == topic_words for text in template.default_for) and bool(topic_words)
    lengths = []
    for keyword in template.topics:
        words = _words(keyword)
        # Scripts written without spaces have no words to compare: look for the keyword itself.
        if words and (words <= topic_words or (not keyword.isascii() and keyword.casefold() in topic.casefold())):
            lengths.append(len(words))
    return int(named), max(lengths, default=0), sum(lengths)
