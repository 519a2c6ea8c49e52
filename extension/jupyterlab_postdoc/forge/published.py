"""What a reader on GitHub needs and only a published repository can say: its address, badges, the two commands.

A README is written before the repository has an address; :func:`name_home` fills it in once it has one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterlab_postdoc.forge.text import json_text, markdown, one_line, quoted
from jupyterlab_postdoc.forge.tree import put, read

WORKFLOW = "actions/workflows/reproduce.yml"
PULLS = "../../pulls?q=is%3Apr"
"""From a file at the top of a branch without a slash in its name, as the default branch's, to the pull requests."""

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_COMPARED = (
    "The second command makes the locked environment in `rerun/environment` (with Python {minor} and pip, or with uv), "
    "runs every cell and compares the verdict with `results.json`; it fails when a figure differs. It needs Python "
    "3.8 or newer to begin with (on Windows `py` in place of `python3`), and changes no file."
)
_NOTHING_TO_COMPARE = (
    "There is no verdict to compare with yet, so the second command says so and stops. `uvx marimo edit --sandbox "
    "notebook.py` opens the notebook, if there is one, with the packages that its header names."
)


def is_home(home: str) -> bool:
    """Whether this is a repository's web address that can stand in a file or a command as it is."""
    return bool(_ADDRESS.fullmatch(home)) and ".." not in home


def is_branch(branch: str) -> bool:
    """Whether a branch name can stand in a command as it is."""
    return bool(_BRANCH.fullmatch(branch)) and ".." not in branch and not branch.endswith(("/", ".lock"))


def badges(home: str) -> str:
    """A line of badges and links. Without an address they are relative, as GitHub takes them on the default branch."""
    top = f"{home}/" if is_home(home) else "../../"
    return (
        f"[![re-execution]({top}{WORKFLOW}/badge.svg)]({top}{WORKFLOW}) "
        f"[Licence](LICENSE) · [Cite](CITATION.cff) · [Pull requests]({top}pulls?q=is%3Apr)"
    )


def commands(name: str, home: str, branch: str = "") -> str:
    """The two commands, as a code block: clone, and run. ``branch``: of that branch in place of the default one."""
    folder = _folder(name, home)
    taken = f" --branch {branch}" if branch and is_branch(branch) else ""
    return (
        f"```sh\ngit clone{taken} {home if is_home(home) else 'ADDRESS'} {folder}\npython3 {folder}/reproduce.py\n```"
    )


def _folder(name: str, home: str) -> str:
    named = urlsplit(home).path.rpartition("/")[2] if is_home(home) else name
    return named if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", named) else "study"


def where(name: str, home: str, branch: str) -> str:
    """The sentence below the commands that says what they leave open."""
    if not is_home(home):
        return "ADDRESS is the address of this repository: on GitHub, the one that the button *Code* shows."
    if not is_branch(branch):
        return ""
    return (
        "Until the pull request is merged, the study is on a branch of its own, and the first command is "
        f"`git clone --branch {branch} {home} {_folder(name, home)}`."
    )


def reproduce(
    name: str,
    home: str,
    branch: str,
    *,
    python: str,
    verdict: Mapping[str, Any] | None,
    datasets: Sequence[Mapping[str, Any]],
) -> str:
    """The section that says how a stranger runs the study again."""
    minor = ".".join(python.split(".")[:2])
    missing = [str(entry.get("path")) for entry in datasets if not entry.get("included", True)]
    lines = ["## Reproduce", _how(name, home, branch)]
    lines.append(_COMPARED.format(minor=minor) if verdict is not None else _NOTHING_TO_COMPARE)
    if missing:
        files = ", ".join(f"`{one_line(path).replace('`', chr(39))}`" for path in missing)
        lines.append(f"Not in the repository, put in place first (see `data/MANIFEST.json`): {files}.")
    return "\n\n".join(lines)


def site(home: str) -> str:
    """Where GitHub shows the repository's pages; empty for a server of which that is not known."""
    parts = urlsplit(home)
    if not is_home(home) or parts.hostname != "github.com":
        return ""
    _, owner, name = parts.path.split("/")
    own = f"https://{owner.lower()}.github.io/"
    return own if f"{name.lower()}/" == own.removeprefix("https://") else f"{own}{name}/"


def look(present: Sequence[str], home: str, *, pages: bool) -> str:
    """Where the executed notebook can be read, in one paragraph; empty while there is no report."""
    if "reports/report.html" not in present:
        return ""
    ways = ["GitHub shows an HTML file as source: download it and open it in any browser"]
    if pages and (address := site(home)):
        ways.append(f"where Pages is turned on, it is at <{address}> once it is merged")
    return (
        "The whole study as it was executed, with its code, tables and figures: "
        f"[`reports/report.html`](reports/report.html) ({'; '.join(ways)})."
    )


def name_home(root: Path, name: str, home: str, branch: str = "", *, before: tuple[str, str] = ("", "")) -> list[str]:
    """Write the address of a repository that has just got one into the files that name it; returns which changed.

    Blocking. ``name`` is the study's own name, ``before`` the address and branch that the files may have. Nothing but
    those words is touched, and a file that does not have them stays as it is.
    """
    if not is_home(home):
        return []
    readme = _text(root, "README.md")
    for known in dict.fromkeys([before, ("", "")]):
        readme = readme.replace(badges(known[0]), badges(home), 1)
        if (old := _how(name, *known)) in readme:
            readme = readme.replace(old, _how(name, home, branch), 1)
            break
    citation = re.sub(r"(?m)^repository-code: .*\n", "", _text(root, "CITATION.cff")) + repository_code(home)
    written = {"README.md": readme, "CITATION.cff": citation}
    try:
        provenance = json.loads(_text(root, "provenance.json"))
    except ValueError:
        provenance = None
    if isinstance(provenance, dict):
        written["provenance.json"] = json_text({**provenance, "published": published(home, branch)})
    changed = [path for path, text in written.items() if _text(root, path) not in ("", text)]
    for path in changed:
        put(root, path, written[path])
    return changed


def _how(name: str, home: str, branch: str) -> str:
    """The commands with the sentence below them."""
    return "\n\n".join(part for part in (commands(name, home), where(name, home, branch)) if part)


def published(home: str, branch: str) -> dict[str, str] | None:
    """The entry of provenance.json."""
    return {"url": home, "branch": branch if is_branch(branch) else ""} if is_home(home) else None


def repository_code(home: str) -> str:
    """The line of CITATION.cff; empty without an address."""
    return f"repository-code: {quoted(home)}\n" if is_home(home) else ""


def under_review(home: str) -> str:
    """What the first commit's README tells the visitor of the default branch."""
    pulls = f"{home}/pulls?q=is%3Apr" if is_home(home) else PULLS
    return (
        "**On this branch there is no result yet.** This is the first commit of the study: its question, its plan and "
        f"its environment. On GitHub the study itself is proposed in a [pull request]({pulls}), notebook, figures and "
        "report included, and is **under review** there until a person merges it. Then this page shows its result."
    )


def licence(kind: str) -> str:
    """The line of the README: ``ours``, ``other`` (a file that was there before) or ``none``."""
    if kind == "ours":
        return "Code: MIT. Text and figures: CC-BY-4.0 (see `LICENSE`). Data: see `data/MANIFEST.json`."
    if kind == "other":
        return "Licence: see `LICENSE`. Data: see `data/MANIFEST.json`."
    return "No licence: all rights are reserved. Data: see `data/MANIFEST.json`."


def spans(datasets: Sequence[Mapping[str, Any]]) -> str:
    """The dates that the data files cover, as Markdown; empty when no file has any."""
    found = [entry["span"] for entry in datasets if isinstance(entry.get("span"), Mapping)]
    firsts = [str(span.get("first")) for span in found if span.get("first")]
    lasts = [str(span.get("last")) for span in found if span.get("last")]
    return markdown(f"{min(firsts)} to {max(lasts)}", 100) if firsts and lasts else ""


def _text(root: Path, path: str) -> str:
    try:
        return read(root, path)
    except OSError:
        return ""
