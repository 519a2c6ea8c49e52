"""The tool that fetches a data file from the network into the project, with its address and its checksum."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import datasets, repository
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.secrets import redact
from jupyterlab_postdoc.tools.base import ToolContext, tool
from jupyterlab_postdoc.workspace.addresses import parse
from jupyterlab_postdoc.workspace.fetch import Fetched

INCOMING = "postdoc-fetch-"
MEDIA_TYPES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/plain": ".txt",
    "application/json": ".json",
    "application/geo+json": ".geojson",
    "application/x-ndjson": ".jsonl",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.apache.parquet": ".parquet",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/zip": ".zip",
    "application/gzip": ".gz",
    "application/pdf": ".pdf",
}
BEGINNINGS = {b"PAR1": ".parquet", b"PK\x03\x04": ".zip", b"\x1f\x8b": ".gz", b"%PDF": ".pdf", b"\x89HDF": ".h5"}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z")
_SECRET = re.compile(r"(?i)key|token|sig|secret|pass|auth|credential|session")
_PAGE = re.compile(rb"(?is)\A(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b")

Text = Annotated[str, Meta(max_length=500)]


async def _there(ctx: ToolContext, given: dict[str, Any]) -> ToolOutcome | None:
    """After a crash: a file of this address that is there as the manifest says was fetched."""
    shown = _shown(given["url"])
    for entry in await asyncio.to_thread(datasets.entries, ctx.project.root):
        if entry.get("url") == shown and (ctx.project.root / str(entry.get("path"))).is_file():
            return _outcome(entry)
    return None


@tool(risk="outside", title=lambda given: f"Fetching data from {_host(str(given.get('url', '')))}", reconcile=_there)
async def fetch_dataset(
    ctx: ToolContext,
    url: Annotated[str, Meta(min_length=1, max_length=4000, description="Public http or https address of the file")],
    name: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        Meta(description="File name in data/, with its ending; default: the source's own"),
    ] = None,
    licence: Annotated[Text, Meta(description="Licence as the source states it")] = "unknown",
    description: Annotated[Text, Meta(description="What the file holds, in one sentence")] = "",
) -> ToolOutcome:
    """Fetch one data file from a public address into data/.

    Address, time, licence and sha256 are noted in data/MANIFEST.json. Archives are stored, not unpacked.
    """
    fetcher = ctx.resources.fetch
    if fetcher is None:
        raise PostdocError(
            "forbidden",
            "The administrator has switched off fetching data from the network.",
            next="Ask the user to put the file into the project's data folder.",
        )
    parse(url)

    async def on_progress(got: int, total: int | None) -> None:
        of = f" of {total / 1e6:,.1f}" if total else ""
        await ctx.status(f"Fetching data from {_host(url)}: {got / 1e6:,.1f}{of} MB", got / total if total else None)

    with tempfile.TemporaryDirectory(prefix=INCOMING, dir=_incoming(ctx.project.root)) as folder:
        began = time.time()
        arrived = Path(folder) / "file"
        fetched = await fetcher.download(url, arrived, on_progress)
        named = arrived.rename(arrived.with_name(await asyncio.to_thread(_name, arrived, fetched, name, url)))
        origin = datasets.Origin(_shown(url), _shown(fetched.final_url), fetched.media_type, redact(description))
        entry = await repository.add_dataset(
            ctx.project.root, named, licence=redact(licence), retrieved=began, origin=origin
        )
    return _outcome(entry)


def _incoming(root: Path) -> Path | None:
    """Where a file waits until it is whole: in ``.git``, where the project's own programs cannot write."""
    place = root / ".git"
    if not place.is_dir() or place.is_symlink():
        return None
    for old in place.glob(f"{INCOMING}*"):  # of a server that was killed; a session fetches one file at a time
        shutil.rmtree(old, ignore_errors=True)
    return place


def _outcome(entry: dict[str, Any]) -> ToolOutcome:
    path = str(entry["path"])
    size = f"{int(entry.get('bytes') or 0):,} bytes"
    lines = [f"{path} is there ({size}, {entry.get('media_type') or 'unknown type'}, sha256 {entry['sha256']})."]
    if entry.get("rows") is not None:
        names = ", ".join(entry.get("column_names") or [])
        lines.append(f"{entry['rows']} rows; {entry['columns']} columns: {names}")
    if path.endswith(ARCHIVES):
        lines.append("It is an archive and was not unpacked: read the members that are needed from it in the notebook.")
    if not entry.get("included", True):
        lines.append("It is too large for the repository; the manifest names its source.")
    return ToolOutcome(True, "\n".join(lines), dict(entry))


def _name(arrived: Path, fetched: Fetched, wanted: str | None, url: str) -> str:
    """A name for the file in one part; datasets.add makes it plain. Refuses what is no data: a page, an empty file."""
    with arrived.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise PostdocError("tool_failed", "The address answered with an empty file.", next="Check the address.")
    if fetched.media_type in ("text/html", "application/xhtml+xml") or _PAGE.match(head):
        raise PostdocError(
            "tool_failed",
            f"{_host(fetched.final_url)} answered with a web page, not with data (perhaps an error or a sign-in page).",
            next="Find the address of the file itself, for example the target of the page's download link.",
        )
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise PostdocError(
            "tool_failed",
            "The address answered with a pointer of Git LFS, not with the file itself.",
            next="Fetch the file's media address (on GitHub: media.githubusercontent.com/media/…).",
        )
    if wanted is not None:
        plain = _last_part(wanted)
        datasets.suffix_of(plain, fetched=True)
        return plain
    proposals = [fetched.file_name, unquote(urlsplit(fetched.final_url).path), unquote(urlsplit(url).path)]
    for proposal in proposals:
        plain = _last_part(proposal)
        try:
            datasets.suffix_of(plain, fetched=True)
        except PostdocError:
            continue
        return plain
    suffix = MEDIA_TYPES.get(fetched.media_type) or next((s for b, s in BEGINNINGS.items() if head.startswith(b)), None)
    if suffix is None:
        raise PostdocError(
            "tool_failed",
            f"It is not clear what kind of file this is ({fetched.media_type or 'no media type'}).",
            next="Call again with a name that ends in the right way, for example data.csv.",
        )
    stem = next((part for p in proposals if (part := _last_part(p).partition(".")[0])), "") or _host(url)
    return f"{stem[:80]}{suffix}"


def _last_part(path: str) -> str:
    """The last part of a path as one harmless file name, its ending kept; empty when nothing is left."""
    part = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    part = "".join(c for c in part if c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF).strip(" .")
    while len(part.encode()) > 150:
        part = part[1:]
    return part


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the network"
    except ValueError:
        return "the network"


def _shown(url: str) -> str:
    """The address as the manifest keeps it: values that let people in (keys, signatures) are left out."""
    parts = urlsplit(parse(url).url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(_SECRET.search(key) for key, _ in query):
        kept = [(key, "removed" if _SECRET.search(key) else value) for key, value in query]
        parts = parts._replace(query=urlencode(kept))
    return redact(urlunsplit(parts))
