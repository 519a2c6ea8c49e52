"""Paths that cannot escape, files with limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.sandbox import NoSandbox
from jupyterlab_postdoc.workspace.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "project"
    root.mkdir()
    (root / "data").mkdir()
    (root / ".git").mkdir()
    (tmp_path / "project-evil").mkdir()
    (tmp_path / "project-evil" / "secret.txt").write_text("canary")
    return Workspace(root, sandbox=NoSandbox())


def refused(workspace: Workspace, path: str) -> PostdocError:
    with pytest.raises(PostdocError) as info:
        workspace.resolve(path)
    return info.value


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "data/../../x",
        "/etc/passwd",
        "a\0b",
        ".git",
        ".git/config",
        "data/.GIT/x",
        "../project-evil/secret.txt",
        "\ud800",
    ],
)
def test_escapes_are_forbidden(workspace: Workspace, path: str) -> None:
    assert refused(workspace, path).code == "forbidden"


def test_a_sibling_with_the_same_prefix_is_outside(workspace: Workspace) -> None:
    assert refused(workspace, f"{workspace.root}-evil/secret.txt").code == "forbidden"
    assert workspace.resolve(f"{workspace.root}/data/a.csv") == workspace.root / "data" / "a.csv"


@pytest.mark.parametrize("target", ["../project-evil", "/etc", ".git", "loop"])
def test_links_that_lead_out_are_forbidden(workspace: Workspace, target: str) -> None:
    (workspace.root / "loop" if target == "loop" else workspace.root / "link").symlink_to(target)
    name = "loop" if target == "loop" else "link"
    error = refused(workspace, f"{name}/secret.txt")
    assert error.code == "forbidden"
    assert "canary" not in error.message
    with pytest.raises(PostdocError):
        workspace.read_text(f"{name}/secret.txt")
    with pytest.raises(PostdocError):
        workspace.write_text(f"{name}/new.txt", "x")
    assert not (workspace.root.parent / "project-evil" / "new.txt").exists()


def test_a_link_inside_is_followed(workspace: Workspace) -> None:
    workspace.write_text("data/real.txt", "text")
    (workspace.root / "alias.txt").symlink_to("data/real.txt")
    assert workspace.read_text("alias.txt") == "text"
    assert workspace.resolve("alias.txt") == workspace.root / "data" / "real.txt"


@given(st.text(max_size=40))
def test_no_text_resolves_to_the_outside(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    root = tmp_path_factory.getbasetemp() / "hypothesis-root"
    root.mkdir(exist_ok=True)
    workspace = Workspace(root, sandbox=NoSandbox())
    try:
        full = workspace.resolve(path)
    except PostdocError:
        return
    assert full.is_relative_to(workspace.root)


def test_text_comes_back_as_written_and_writing_is_atomic(workspace: Workspace) -> None:
    workspace.write_text("notes/deep/a.txt", "Grüße\n")
    assert workspace.read_text("notes/deep/a.txt") == "Grüße\n"
    workspace.write_text("notes/deep/a.txt", "new")
    assert [p.name for p in (workspace.root / "notes" / "deep").iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"\xef\xbb\xbfa;b", "a;b"), ("a;b".encode("utf-16"), "a;b"), (b"caf\xe9", "café"), (b"", "")],
)
def test_the_encodings_of_spreadsheets_are_read(workspace: Workspace, data: bytes, text: str) -> None:
    (workspace.root / "x.csv").write_bytes(data)
    assert workspace.read_text("x.csv") == text


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\x00\x00", b"abc\x00def", bytes(range(256))])
def test_binary_files_are_refused_with_a_sentence(workspace: Workspace, data: bytes) -> None:
    (workspace.root / "x.bin").write_bytes(data)
    with pytest.raises(PostdocError, match="is not a text file"):
        workspace.read_text("x.bin")


def test_sizes_folders_fifos_and_missing_files(workspace: Workspace) -> None:
    (workspace.root / "big.txt").write_bytes(b"x" * 3_000_000)
    os.mkfifo(workspace.root / "fifo")
    for path, code in [
        ("big.txt", "too_large"),
        ("data", "bad_message"),
        ("fifo", "bad_message"),
        ("no.txt", "not_found"),
    ]:
        with pytest.raises(PostdocError) as info:
            workspace.read_text(path)
        assert info.value.code == code, path
    with pytest.raises(PostdocError) as info:
        workspace.write_text("x.txt", "x" * 6_000_000)
    assert info.value.code == "too_large"
    with pytest.raises(PostdocError) as info:
        workspace.write_text("data", "x")
    assert info.value.code == "bad_message"
    with pytest.raises(PostdocError):
        workspace.write_text("big.txt/below", "x")
