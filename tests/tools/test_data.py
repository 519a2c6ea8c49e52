"""fetch_dataset against a real server on a real socket."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from tests.tools.conftest import Recorder
from tests.workspace.servers import Web, moved, page, raw, web

from jupyterlab_postdoc.forge.readme import readme
from jupyterlab_postdoc.forge.study import Outcome
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.data import fetch_dataset
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.resources import Resources
from jupyterlab_postdoc.workspace.fetch import Fetcher

CSV = b"species,mass\nbarn,400\nsnowy,2000\n"


async def fetch(project: Project, server: Web, path: str, **given: Any) -> ToolOutcome:
    fetcher = Fetcher(max_bytes=100_000, timeout_s=10, private_hosts=[server.place])
    context = Recorder().context(project, Resources(fetch=fetcher))
    outcome = await fetch_dataset.call(context, {"url": server.url(path), **given})
    assert not list((project.root / ".git").glob("postdoc-fetch-*"))
    assert not (project.root / "data" / ".incoming").exists()
    return outcome


def manifest(project: Project) -> list[dict[str, Any]]:
    path = project.root / "data" / "MANIFEST.json"
    return list(json.loads(path.read_text())["files"]) if path.exists() else []


def the_readme(project: Project) -> str:
    return readme(project.study, None, Outcome(), python="3.11", present=[], datasets=manifest(project))


async def test_a_dataset_comes_with_its_origin_and_checksum(project: Project) -> None:
    async with web({"/owls.csv": page(CSV), "/go": moved("/owls.csv?token=abc123456&n=1")}) as server:
        server.pages["/owls.csv?token=abc123456&n=1"] = page(CSV)
        outcome = await fetch(project, server, "/go", licence="CC0", description="Owls & `masses`")
        assert outcome.ok, outcome.content
        assert "2 rows; 2 columns: species, mass" in outcome.content
        (entry,) = manifest(project)
        assert entry["sha256"] == hashlib.sha256(CSV).hexdigest()
        assert (project.root / entry["path"]).read_bytes() == CSV
        kept = {name: entry[name] for name in ("path", "url", "final_url", "media_type", "licence", "description")}
        assert kept == {
            "path": "data/owls.csv",
            "url": server.url("/go"),
            "final_url": server.url("/owls.csv?token=removed&n=1"),
            "media_type": "text/csv",
            "licence": "CC0",
            "description": "Owls & `masses`",
        }
        assert entry["retrieved"].startswith("20")
        text = the_readme(project)
        assert f"<{server.url('/go')}>" in text
        assert entry["sha256"] in text
        assert "licence: CC0" in text
        assert "abc123456" not in text
        again = await fetch(project, server, "/owls.csv")
        assert again.data["path"] == "data/owls.csv"
        assert len(manifest(project)) == 1


async def test_a_call_that_a_crash_cut_off_is_recognised(project: Project) -> None:
    reconcile = fetch_dataset.reconcile
    assert reconcile is not None
    async with web({"/a.csv": page(CSV)}) as server:
        given = {"url": server.url("/a.csv"), "name": None, "licence": "unknown", "description": ""}
        context = Recorder().context(project)
        assert await reconcile(context, given) is None
        await fetch(project, server, "/a.csv")
        found = await reconcile(context, given)
        assert found is not None
        assert found.data["path"] == "data/a.csv"
        (project.root / "data" / "a.csv").unlink()
        assert await reconcile(context, given) is None
        left = project.root / ".git" / "postdoc-fetch-old"
        left.mkdir()
        (left / "file").write_text("half")
        assert (await fetch(project, server, "/a.csv")).ok


@pytest.mark.parametrize(
    ("body", "media_type", "words"),
    [
        (b"<!DOCTYPE html><title>Sign in", "text/csv", "web page"),
        (b"\xef\xbb\xbf\n <!-- hello -->\n<HTML>", "application/octet-stream", "web page"),
        (CSV, "text/html; charset=utf-8", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "text/plain", "Git LFS"),
        (b"", "text/csv", "empty"),
    ],
)
async def test_what_pretends_to_be_data_is_refused(project: Project, body: bytes, media_type: str, words: str) -> None:
    async with web({"/a.csv": page(body, media_type)}) as server:
        outcome = await fetch(project, server, "/a.csv")
    assert not outcome.ok
    assert words in outcome.content
    assert manifest(project) == []
    assert not (project.root / "data" / "a.csv").exists()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../x.csv", "data/x.csv"),
        ("/etc/cron.d/x.csv", "data/x.csv"),
        ("..\\..\\x.csv", "data/x.csv"),
        ("a\x00b\nc\x1b[31m.csv", "data/abc-31m.csv"),
        ("Größe der Käuze.csv", "data/grosse-der-kauze.csv"),
        ("\u202evsc.exe.csv", "data/vsc.exe.csv"),
        ("MANIFEST.json", "data/manifest-data.json"),
        ("readme.MD", "data/readme-data.md"),
        ("-rf.csv", "data/rf.csv"),
        ("x" * 200 + ".csv", None),
        (".csv", None),
    ],
)
async def test_hostile_names_stay_in_the_data_folder(project: Project, name: str, stored: str | None) -> None:
    async with web({"/d": page(CSV)}) as server:
        outcome = await fetch(project, server, "/d", name=name)
    before = sorted(path.name for path in project.root.parent.iterdir())
    assert before == ["owls"]
    if not outcome.ok:
        assert manifest(project) == []
        return
    (entry,) = manifest(project)
    path = project.root / entry["path"]
    assert path.parent == project.root / "data"
    assert path.read_bytes() == CSV
    if stored is not None:
        assert entry["path"] == stored


async def test_names_of_the_source_and_kinds_are_found(project: Project) -> None:
    pages = {
        "/download?id=3": page(CSV, "text/csv"),
        "/x": page(b"PAR1....PAR1", "application/octet-stream"),
        "/attached": page(CSV, "text/plain", Content_Disposition='attachment; filename="../owls of 2026.csv"'),
        "/what": page(b"\x00\x01\x02", "application/octet-stream"),
        "/run.exe": page(b"MZ", "application/x-msdownload"),
        "/a.zip": page(b"PK\x03\x04rest", "application/zip"),
        "/cut.csv": raw("200 OK", {"Content-Length": "999"}, CSV),
        "/big.csv": page(b"x" * 100_001),
    }
    async with web(pages) as server:
        assert (await fetch(project, server, "/download?id=3")).data["path"] == "data/download.csv"
        assert (await fetch(project, server, "/x")).data["path"] == "data/x.parquet"
        archive = await fetch(project, server, "/a.zip")
        assert "not unpacked" in archive.content
        assert (await fetch(project, server, "/attached", name="b.tsv")).data["path"] == "data/download.csv"  # the same
        for path in ("/what", "/run.exe"):
            assert "not clear what kind" in (await fetch(project, server, path)).content
        assert (await fetch(project, server, "/cut.csv")).data["code"] == "tool_failed"
        assert (await fetch(project, server, "/big.csv")).data["code"] == "too_large"
        assert not (await fetch(project, server, "/x", name="x.py")).ok
        assert {entry["path"] for entry in manifest(project)} == {"data/download.csv", "data/x.parquet", "data/a.zip"}


async def test_without_a_way_to_the_network_it_says_so(project: Project) -> None:
    outcome = await fetch_dataset.call(Recorder().context(project), {"url": "https://example.org/a.csv"})
    assert outcome.data["code"] == "forbidden"
    assert "switched off" in outcome.content
    assert fetch_dataset.risk == "outside"
    assert fetch_dataset.title({"url": "https://u:p@example.org/a.csv"}) == "Fetching data from example.org"
