"""The user's data files: copied once, described in `data/MANIFEST.json`, never changed."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.names import disk_errors, slugify_topic
from jupyterlab_postdoc.forge.text import json_text, moment, one_line
from jupyterlab_postdoc.forge.tree import inside, put, read

MAX_BYTES = 2 << 30
INCLUDED_BYTES = 10 << 20
COUNTED_BYTES = 64 << 20
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".xlsx", ".xls", ".csv.gz")
OTHER_SUFFIXES = (
    *(".json", ".jsonl", ".ndjson", ".geojson", ".xml", ".yaml", ".yml", ".md", ".dat", ".bib", ".ods", ".tsv.gz"),
    *(".txt.gz", ".json.gz", ".jsonl.gz", ".feather", ".arrow", ".npy", ".npz", ".nc", ".h5", ".hdf5", ".fits", ".mat"),
    *(".sav", ".dta", ".sas7bdat", ".xpt", ".por", ".rda", ".rds", ".arff", ".gpkg", ".shp", ".dbf", ".sqlite", ".db"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pdf", ".fasta", ".vcf", ".bed", ".gz", ".bz2", ".xz", ".zst"),
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z"),
)
"""Files that an agent may fetch although no template can use them as they are."""
MANIFEST = "data/MANIFEST.json"
_OUR_IGNORE = "# Environments and secrets\n"
"""How the `.gitignore` of our studies begins."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OURS = {"manifest.json", "readme.md"}


class Origin(NamedTuple):
    """Where a fetched file came from: the address asked for, the one that answered, its media type, what it is."""

    url: str
    final_url: str
    media_type: str = ""
    description: str = ""


def entries(root: Path) -> list[dict[str, Any]]:
    """The manifest's entries; empty when there is no readable manifest."""
    try:
        found = json.loads(read(root, MANIFEST))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def write_manifest(root: Path, files: list[dict[str, Any]]) -> None:
    """Write the manifest, sorted by path."""
    put(root, MANIFEST, json_text({"version": 1, "files": sorted(files, key=lambda entry: str(entry.get("path")))}))


def check(source: Path) -> None:
    """Whether :func:`add` would take the file, without reading it. PostdocError: as add."""
    suffix_of(source.name)
    with _opened(source):
        pass


def add(
    root: Path, source: Path, *, licence: str, retrieved: float | None, origin: Origin | None = None
) -> dict[str, Any]:
    """Copy ``source`` into ``data/``. Blocking. The same content is copied once and keeps its entry.

    With an ``origin`` its address, media type and description are noted too, and more kinds of files are taken.
    """
    suffix = suffix_of(source.name, fetched=origin is not None)
    target_dir = inside(root, "data")
    with disk_errors(target_dir), _opened(source) as file:
        size = os.fstat(file.fileno()).st_size
        partial = target_dir / ".incoming"
        try:
            digest = _copy(file, partial, source.name)
            known = entries(root)
            for entry in known:
                if entry.get("sha256") == digest and (root / str(entry.get("path"))).is_file():
                    return entry
            name = _free_name(target_dir, source.name, suffix, digest)
            described = _table(partial, suffix) if size <= COUNTED_BYTES else {}
            partial.replace(target_dir / name)
        finally:
            partial.unlink(missing_ok=True)
    entry = {
        "path": f"data/{name}",
        "source": one_line(source.name),
        "bytes": size,
        "sha256": digest,
        "rows": described.get("rows"),
        "columns": described.get("columns"),
        "column_names": described.get("column_names"),
        **({"span": described["span"]} if described.get("span") else {}),
        "licence": one_line(licence),
        "retrieved": None if retrieved is None else moment(retrieved),
        "included": size <= INCLUDED_BYTES,
    }
    if origin is not None:
        entry |= {
            "url": one_line(origin.url, 4_000),
            "final_url": one_line(origin.final_url, 4_000),
            "media_type": one_line(origin.media_type, 100),
            "description": one_line(origin.description, 500),
        }
    if not entry["included"]:
        _ignore(root, f"/data/{name}")
    write_manifest(root, [*(old for old in known if old.get("path") != entry["path"]), entry])
    return entry


def suffix_of(name: str, *, fetched: bool = False) -> str:
    """The ending that says what kind of file this is. PostdocError("bad_message") when it is none that is taken."""
    lowered = name.lower()
    known: set[str] = {*SUFFIXES, *(OTHER_SUFFIXES if fetched else ())}
    for suffix in sorted(known, key=len, reverse=True):
        if lowered.endswith(suffix):
            return suffix
    raise PostdocError(
        "bad_message",
        f"{one_line(name, 80)!r} is not a data file that can be used.",
        next="Give a CSV, TSV, Parquet or Excel file.",
    )


def bring(source: Path, root: Path, path: str, digest: str) -> bool:
    """Copy ``path`` (in ``data/``) from another checkout, when it still has that sha256. Blocking."""
    if (source / "data").is_symlink():
        return False
    partial = inside(root, "data") / ".incoming"
    try:
        with _opened(source / path) as file:
            same = _copy(file, partial, source.name) == digest
        if same:
            partial.replace(root / path)
        return same
    except PostdocError:  # it is gone, or no plain file: whoever reads it in the fork will say so
        return False
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    """The file, if it is a regular one of a sensible size; never follows a link, never waits on a pipe."""
    shown = repr(one_line(source.name, 80))
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            raise PostdocError("not_found", f"There is no data file {shown}.", next="Check the path.") from exc
        if exc.errno == errno.ELOOP:
            raise PostdocError(
                "bad_message", f"{shown} is a symbolic link.", next="Give the path of the file itself."
            ) from exc
        if exc.errno in (errno.EACCES, errno.EPERM):
            raise PostdocError(
                "forbidden", f"The server may not read {shown}.", next="Make the file readable for the server's user."
            ) from exc
        raise PostdocError("bad_message", f"{shown} cannot be read: {exc.strerror}.", next="Check the path.") from exc
    info = os.fstat(handle)
    if stat.S_ISDIR(info.st_mode):
        os.close(handle)
        raise PostdocError("bad_message", f"{shown} is a directory.", next="Give the path of one data file.")
    with open(handle, "rb") as file:
        if not stat.S_ISREG(info.st_mode):
            raise PostdocError("bad_message", f"{shown} is not a regular file.", next="Give the path of one data file.")
        if info.st_size > MAX_BYTES:
            raise _too_large(shown)
        if info.st_size == 0:
            raise PostdocError("bad_message", f"{shown} is empty.", next="Give a file with data.")
        yield file


def _too_large(shown: str) -> PostdocError:
    return PostdocError(
        "too_large",
        f"{shown} is larger than 2 GB; nothing was copied.",
        next="Give a smaller file: select the columns and rows that the study needs.",
    )


def _copy(file: BinaryIO, partial: Path, name: str) -> str:
    """Copy to ``partial`` (made new) and onto the disk; the sha256 of what was copied."""
    partial.unlink(missing_ok=True)
    digest, written = hashlib.sha256(), 0
    with partial.open("xb") as copy:
        while block := file.read(1 << 20):
            written += len(block)
            if written > MAX_BYTES:  # the file grows while it is read
                raise _too_large(repr(one_line(name, 80)))
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()


def _free_name(directory: Path, name: str, suffix: str, digest: str) -> str:
    """The file's own name when it is plain ASCII, else a transliterated one; with a number when another file has it."""
    stem = name[: -len(suffix)]
    if not _PLAIN_NAME.fullmatch(stem):
        stem = slugify_topic(stem)
    if f"{stem}{suffix}".lower() in _OURS:
        stem = f"{stem.lower()}-data"
    for number in range(1, 1000):
        candidate = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
        path = directory / candidate
        if not os.path.lexists(path):
            return candidate
        if path.is_file() and not path.is_symlink() and _digest(path) == digest:
            return candidate  # copied before a crash, but not yet in the manifest
    raise PostdocError("bad_message", f"There are too many data files named {stem!r}.", next="Rename the file.")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _table(path: Path, suffix: str) -> dict[str, Any]:
    """Rows and columns of a text table; empty for other formats and for files that are no clean table."""
    if suffix not in (".csv", ".tsv", ".txt"):
        return {}
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            first = text.readline(1 << 20)
            text.seek(0)
            delimiter = max(",;\t|", key=first.count) if suffix != ".tsv" else "\t"
            reader = csv.reader(text, delimiter=delimiter)
            header = next(reader, [])
            rows, span = 0, _Span(header)
            for row in reader:
                rows += bool(row)
                span.see(row)
    except (UnicodeDecodeError, csv.Error):
        return {}
    names = [one_line(name, 100) for name in header[:200]]
    return {"rows": rows, "columns": len(header), "column_names": names, "span": span.found()}


class _Span:
    """The first and the last date in the first column that is named like one; none when a value is no ISO date."""

    _NAMED = re.compile(r"(?i)(.*[ _-])?(date|time|timestamp|datetime|day|month|period|year)([ _-].*)?")
    _DATE = re.compile(r"(\d{4}(?:-\d{2}(?:-\d{2})?)?)(?:[T ][0-9:.+Z-]*)?")

    def __init__(self, header: list[str]) -> None:
        self.at = next((at for at, name in enumerate(header) if self._NAMED.fullmatch(name.strip())), None)
        self.column = one_line(header[self.at], 100) if self.at is not None else ""
        self.first = self.last = ""

    def see(self, row: list[str]) -> None:
        if self.at is None or len(row) <= self.at:
            return
        date = self._DATE.fullmatch(row[self.at].strip())
        if date is None:
            self.at = None
            return
        self.first = min(self.first or date[1], date[1])
        self.last = max(self.last, date[1])

    def found(self) -> dict[str, str] | None:
        return (
            {"column": self.column, "first": self.first, "last": self.last}
            if self.at is not None and self.last
            else None
        )


def _ignore(root: Path, pattern: str) -> None:
    """Keep a file in ``data/`` out of the commits; somebody else's `.gitignore` stays as it is."""
    path, present = ".gitignore", _text(root, ".gitignore")
    if present and not present.startswith(_OUR_IGNORE):
        path, pattern = "data/.gitignore", pattern.removeprefix("/data")
        present = _text(root, path)
    if pattern not in present.splitlines():
        put(root, path, f"{present.rstrip()}\n\n# Too large to publish; see data/MANIFEST.json\n{pattern}\n".lstrip())


def _text(root: Path, path: str) -> str:
    try:
        return read(root, path)
    except OSError:
        return ""
