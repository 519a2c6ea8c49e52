"""Every topic gets a legal name; a run gets its own directory, once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.names import check_repo_name, claim_directory, next_free, read_marker, slugify_topic

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=300)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
def test_any_topic_gives_a_legal_name(topic: str) -> None:
    name = slugify_topic(topic)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,79}", name)
    assert not name.endswith("-")
    check_repo_name(name)
    assert slugify_topic(topic) == name


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_a_refused_name_comes_with_a_legal_proposal(name: str) -> None:
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,79}", name) and name != "con":
        check_repo_name(name)
        return
    with pytest.raises(PostdocError) as caught:
        check_repo_name(name)
    assert caught.value.code == "bad_message"
    check_repo_name(caught.value.details["proposal"])
    assert caught.value.details["proposal"] in caught.value.next


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("Short Term Reversal", "short-term-reversal"),
        ("短期反転", "duanqifanzhuan"),
        ("Ελλάδα: Größe & Café", "ellada-grosse-cafe"),
        ("Gro\u0308ße", "grosse"),
        ("Does x' beat y?", "does-x-beat-y"),
        ("a" * 150, "a" * 80),
        ("word " * 40, "-".join(["word"] * 16)),
    ],
)
def test_names_read_like_their_topics(topic: str, name: str) -> None:
    assert slugify_topic(topic) == name


@pytest.mark.parametrize("topic", ["", "   ", "!!!", "con", "NUL", "..", "\ud800"])
def test_topics_without_a_usable_word_get_a_stable_name(topic: str) -> None:
    name = slugify_topic(topic)
    assert re.search(r"-[0-9a-f]{8}$", name)


@pytest.mark.parametrize(
    "name",
    ["../x", "-x", "a;rm", "a\u2024b", "x" * 300, "a\0b", ".git", "Upper", "", "con", "a.git", "a\n", "com1", "a b"],
)
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(PostdocError) as caught:
        check_repo_name(name)
    assert caught.value.code == "bad_message"
    assert len(caught.value.message) < 300


def test_suffixes_stay_within_the_limit() -> None:
    used: set[str] = set()
    for _ in range(10):
        name = next_free("a" * 80, used.__contains__, session="s_Ab9XyZ12")
        check_repo_name(name)
        used.add(name)
    assert len(used) == 10
    assert name.endswith("-9xyz12")
    with pytest.raises(PostdocError) as caught:
        next_free("a" * 80, used.__contains__, session="s_Ab9XyZ12")
    assert caught.value.code == "github_conflict"


async def claim(root: Path, run: str, *, name: str | None = None, topic: str = "Short Term Reversal") -> Path:
    return await claim_directory(root, topic=topic, repo_name=name, run_id=run, session_id=f"session-{run}")


async def test_a_run_finds_its_own_directory_again(tmp_path: Path) -> None:
    root = tmp_path / "research"
    first = await claim(root, "r1")
    assert first == root / "short-term-reversal"
    second = await claim(root, "r2")
    assert second.name == "short-term-reversal-2"
    assert await claim(root, "r1") == first
    assert await claim(root, "r2") == second
    assert sorted(path.name for path in root.iterdir()) == [first.name, second.name]
    assert read_marker(first / ".git") == {"version": 1, "name": first.name, "run": "r1", "session": "session-r1"}


async def test_a_persons_directory_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "Short-Term-Reversal").mkdir()
    (tmp_path / "short-term-reversal-2").write_text("mine")
    (tmp_path / "short-term-reversal-3").symlink_to("nowhere")
    assert (await claim(tmp_path, "r1")).name == "short-term-reversal-4"
    assert not any((tmp_path / "Short-Term-Reversal").iterdir())
    with pytest.raises(PostdocError) as caught:
        await claim(tmp_path, "r9", name="short-term-reversal")
    assert caught.value.code == "github_conflict"
    assert caught.value.details["proposal"] == "short-term-reversal-5"
    assert "'short-term-reversal-5'" in caught.value.next
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".claim")]


async def test_a_given_name_is_used_as_it_is(tmp_path: Path) -> None:
    assert await claim(tmp_path, "r1", name="my-study") == tmp_path / "my-study"
    assert await claim(tmp_path, "r1", name="my-study") == tmp_path / "my-study"
    with pytest.raises(PostdocError, match="My Study"):
        await claim(tmp_path, "r2", name="My Study")


async def test_concurrent_runs_never_share_a_directory(tmp_path: Path) -> None:
    places = await asyncio.gather(*(claim(tmp_path, f"r{n:06}") for n in range(10)))
    assert len(set(places)) == 10
    assert {read_marker(place / ".git")["run"] for place in places} == {f"r{n:06}" for n in range(10)}


@pytest.mark.parametrize("moment", ["before mkdir", "after mkdir"])
async def test_a_crash_while_claiming_leaves_no_second_directory(tmp_path: Path, moment: str) -> None:
    first = await claim(tmp_path, "r1")
    # Put the files back to the state between the two steps of the claim.
    ticket = tmp_path / f".claim-{hashlib.sha256(b'r1').hexdigest()[:16]}"
    ticket.mkdir()
    (first / ".git").rename(ticket / ".git")
    if moment == "before mkdir":
        first.rmdir()
    assert await claim(tmp_path, "r1") == first
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert json.loads((first / ".git" / "postdoc.json").read_text())["run"] == "r1"


async def test_a_name_used_elsewhere_is_skipped(tmp_path: Path) -> None:
    async def taken(name: str) -> bool:
        return name in {"x", "x-2"}

    place = await claim_directory(tmp_path, topic="x", repo_name=None, run_id="r", session_id="s", taken=taken)
    assert place.name == "x-3"
    with pytest.raises(PostdocError) as caught:
        await claim_directory(tmp_path, topic="t", repo_name="x", run_id="q", session_id="s", taken=taken)
    assert caught.value.details["proposal"] == "x-4"


async def test_a_root_that_is_no_directory_is_an_error_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "research").write_text("")
    with pytest.raises(PostdocError, match="is not a directory") as caught:
        await claim(tmp_path / "research", "r1")
    assert caught.value.code == "forbidden"
