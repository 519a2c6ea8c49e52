"""`jupyter postdoc templates new`: a small template that already runs, for a person to edit."""

from __future__ import annotations

import re
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def scaffold(path: Path, name: str, title: str) -> list[Path]:
    """Write a complete template named `name` into the new folder `path`; returns the files.

    Raises PostdocError: bad_message for an unusable name or title, id_conflict when the folder already holds files.
    """
    path = Path(path)
    if not _NAME.fullmatch(name):
        raise PostdocError(
            "bad_message",
            f"`{name[:100]}` cannot name a template.",
            next="Use lower-case letters, digits and underscores, starting with a letter, at most 64 of them.",
        )
    title = " ".join(title.split())
    if not 0 < len(title) <= 200:
        raise PostdocError("bad_message", "A template needs a title of 1 to 200 characters.", next="Give a title.")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise PostdocError(
            "id_conflict",
            f"{path} already exists and is not an empty folder; nothing was written.",
            next="Choose another folder.",
        )
    source = Path(__file__).with_name("starter")
    path.mkdir(parents=True, exist_ok=True)
    written = []
    for file in sorted(source.iterdir()):
        target = path / file.name.removesuffix(".txt")
        text = file.read_text(encoding="utf-8")
        # Both places are inside double quotes, in YAML and in Python; JSON escapes are valid in each.
        text = text.replace("starter_name", name).replace('"Starter title"', _quoted(title))
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=True)
