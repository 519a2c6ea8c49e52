# ruff: noqa: ASYNC221 - the plain git calls of these tests are short and meant to block
"""Sending commits to a remote: what arrives, what is refused and in which words, what may be repeated."""

from __future__ import annotations

import asyncio
import itertools
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.forge.githttp import GH001, GH006, GH013_RULE, GH013_SECRET, GitHttp
from tests.forge.pushing import BRANCH, NAME, TOKEN, Source, copy_of, on_disk, plain, publisher, study_of, there

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.publisher import Destination, Publisher
from jupyterlab_postdoc.workspace.git import Git

WORKFLOW_SCOPE = (
    "refusing to allow a Personal Access Token to create or update workflow `.github/workflows/reproduce.yml` "
    "without `workflow` scope"
)
APP_WORKFLOWS = WORKFLOW_SCOPE.replace("Personal Access Token", "GitHub App").replace("`workflow` s", "`workflows` s")
APP_WORKFLOWS = APP_WORKFLOWS.replace("scope", "permission")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitHttp]:
    with GitHttp(tmp_path, TOKEN, auto_create=True) as server:
        yield server


async def refused(what: object) -> PostdocError:
    with pytest.raises(PostdocError) as caught:
        await what  # type: ignore[misc]
    assert TOKEN not in repr(caught.value.as_dict())
    assert "safe locally" in caught.value.message or caught.value.code in ("publish_blocked", "forbidden", "not_found")
    return caught.value


async def test_a_study_becomes_a_repository_with_a_branch(server: GitHttp, tmp_path: Path) -> None:
    study, to, token = await study_of(tmp_path / "study"), there(server), Source()
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    first = await sender.first(to.key, study.tip)
    assert first == study.shas[0]
    assert await sender.heads(to, token) == {}

    started = await sender.push_first(to, token, "main", first)
    assert (started.before, started.after) == (None, first)
    sent = await sender.push(to, token, BRANCH, study.tip)
    assert (sent.branch, sent.before, sent.after, sent.changed) == (BRANCH, None, study.tip, True)
    assert server.branches(NAME) == {"main": first, BRANCH: study.tip} == await sender.heads(to, token)
    assert await sender.ahead(to.key, first, study.tip) == 2

    # Again: nothing is sent.
    pushes = len(server.pushes())
    assert not (await sender.push_first(to, token, "main", first)).changed
    assert not (await sender.push(to, token, BRANCH, study.tip)).changed
    assert len(server.pushes()) == pushes

    # The study goes on, on another server's start.
    more = await study.step({"more.txt": "more\n"})
    later = publisher(tmp_path)
    await later.collect(to.key, study.root, more)
    sent = await later.push(to, token, BRANCH, more)
    assert (sent.before, sent.after) == (study.shas[2], more)
    assert plain(server.bare(NAME), "fsck", "--strict") == ""
    assert {asked.user for asked in server.requests} <= {"", "x-access-token"}
    assert token.asked > 5  # a fresh one at each use


async def test_the_copy_is_ours_alone(server: GitHttp, tmp_path: Path) -> None:
    study, to = await study_of(tmp_path / "study"), there(server)
    sender = publisher(tmp_path)
    await asyncio.gather(*(sender.collect(to.key, study.root, sha) for sha in study.shas))
    bare = copy_of(tmp_path, to)
    assert stat.S_IMODE((tmp_path / "data" / "publish").stat().st_mode) == 0o700
    assert not list(bare.glob("hooks/*")) + list(bare.glob("objects/info/alternates"))
    assert [path.name for path in (tmp_path / "data" / "publish").iterdir()] == ["github.com"]
    await sender.collect(to.key, study.root, study.tip)
    assert plain(bare, "for-each-ref", "--format=%(refname)") == f"refs/collected/{study.tip}"
    # What somebody wrote into its configuration is gone before it is used.
    with (bare / "config").open("a") as config:
        config.write(f'[url "http://127.0.0.1:1/"]\n\tinsteadOf = {server.url}/\n')
    await sender.push(to, Source(), BRANCH, study.tip)
    assert "insteadOf" not in (bare / "config").read_text()
    for key in (
        "github.com/../x",
        "../../x/y",
        "a/b",
        "a/b/c/d",
        "a/b/c.git",
        "/a/b/c",
        "a/b/..",
        "a/./c",
        "a/b/c\n",
        "",
    ):
        with pytest.raises(ValueError, match="key"):
            await sender.collect(key, study.root, study.tip)
    (study.root / ".git" / "objects" / "info").mkdir(exist_ok=True)
    (study.root / ".git" / "objects" / "info" / "alternates").write_text(f"{bare}/objects\n")
    with pytest.raises(PostdocError, match="borrows"):
        await sender.collect(to.key, study.root, study.tip)


async def test_the_default_branch_is_never_pushed_again(server: GitHttp, tmp_path: Path) -> None:
    study, to, token = await study_of(tmp_path / "study"), there(server), Source()
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    await sender.push_first(to, token, "main", study.shas[0])
    for lease in (None, study.shas[0]):
        error = await refused(sender.push(to, token, "main", study.tip, lease=lease))
        assert (error.code, error.details["reason"]) == ("publish_blocked", "default_branch")
    for branch in ("main", "trunk"):
        error = await refused(sender.push_first(to, token, branch, study.tip))
        assert (error.code, error.details["reason"]) == ("publish_blocked", "not_empty")
    assert server.branches(NAME) == {"main": study.shas[0]}


async def test_the_first_push_loses_a_race(server: GitHttp, tmp_path: Path) -> None:
    """Somebody else is faster between our look and our push."""
    study, to = await study_of(tmp_path / "study"), there(server)
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    other = copy_of(tmp_path, to)

    class Late(Source):
        async def token(self) -> str:
            if self.asked:  # the look is over
                plain(other, "push", "-q", str(server.create(NAME)), f"{study.shas[1]}:refs/heads/main")
            return await super().token()

    error = await refused(sender.push_first(to, Late(), "main", study.shas[2]))
    assert error.details["reason"] == "not_empty"
    assert server.branches(NAME) == {"main": study.shas[1]}


async def test_what_others_did_is_never_overwritten(server: GitHttp, tmp_path: Path) -> None:
    study, to, token = await study_of(tmp_path / "study"), there(server), Source()
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    await sender.push_first(to, token, "main", study.shas[0])
    await sender.push(to, token, BRANCH, study.tip)
    plain(tmp_path, "clone", "-q", str(server.bare(NAME)), "-b", BRANCH, "theirs")
    plain(tmp_path / "theirs", "commit", "-q", "--allow-empty", "-m", "theirs")
    plain(tmp_path / "theirs", "push", "-q", "origin", f"HEAD:{BRANCH}", "HEAD:refs/heads/agent/owls/12345678-2")
    theirs = plain(tmp_path / "theirs", "rev-parse", "HEAD")

    more = await study.step({"more.txt": "more\n"})
    await sender.collect(to.key, study.root, more)
    error = await refused(sender.push(to, token, BRANCH, more))
    assert (error.code, error.details["reason"]) == ("push_rejected", "moved")
    assert error.details["proposal"] == f"{BRANCH}-3"
    assert error.message.startswith(f"Someone changed {BRANCH}")
    # A lease on what it was before does not help; one on what it is does.
    for lease in (study.shas[2], study.shas[0]):
        assert (await refused(sender.push(to, token, BRANCH, more, lease=lease))).details["reason"] == "moved"
    assert server.branches(NAME)[BRANCH] == theirs
    forced = await sender.push(to, token, BRANCH, more, lease=theirs)
    assert (forced.before, forced.after) == (theirs, more)


async def test_a_lease_holds_until_the_last_moment(server: GitHttp, tmp_path: Path) -> None:
    study, to = await study_of(tmp_path / "study", 4), there(server)
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    await sender.push(to, Source(), BRANCH, study.shas[1])
    other = copy_of(tmp_path, to)

    class Late(Source):
        async def token(self) -> str:
            if self.asked:
                plain(other, "push", "-q", str(server.bare(NAME)), f"{study.shas[3]}:refs/heads/{BRANCH}")
            return await super().token()

    error = await refused(sender.push(to, Late(), BRANCH, study.shas[0], lease=study.shas[1]))
    assert error.details["reason"] == "moved"
    assert server.branches(NAME)[BRANCH] == study.shas[3]


async def test_names_that_exclude_each_other(server: GitHttp, tmp_path: Path) -> None:
    study, to = await study_of(tmp_path / "study"), there(server)
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    await sender.push(to, Source(), "agent", study.tip)
    error = await refused(sender.push(to, Source(), BRANCH, study.tip))
    assert (error.code, error.details["proposal"]) == ("push_rejected", "agent-owls-12345678-2")
    assert "'agent'" in error.message
    for branch in ("-x", "a..b", "a b", "a/.b", "a.lock", "a@{1}", "x\n", "", "--force", "a//b", "a/", "+a", "a:b"):
        with pytest.raises(PostdocError, match="cannot be a branch"):
            await sender.push(to, Source(), branch, study.tip)


async def test_githubs_refusals_in_words(server: GitHttp, tmp_path: Path) -> None:
    study, to, token = await study_of(tmp_path / "study"), there(server), Source()
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)

    async def said(text: str) -> PostdocError:
        server.reject(NAME, text)
        error = await refused(sender.push(to, token, BRANCH, study.tip))
        assert (error.code, error.details["branch"]) == ("push_rejected", BRANCH)
        return error

    large = await said(GH001)
    assert (large.details["reason"], large.details["path"]) == ("large_file", "data/x.parquet")
    assert large.message.startswith("data/x.parquet is 182.40 MB; GitHub refuses > 100 MB.")
    protected = await said(GH006)
    assert protected.details["reason"] == "protected"
    assert "At least 1 approving review is required" in protected.message
    rule = await said(GH013_RULE)
    assert rule.details["reason"] == "protected"
    assert rule.details["url"] == "https://github.com/ana/owls/rules?ref=refs%2Fheads%2Fmain"
    named = await said(GH013_RULE.replace("Changes must be made through a pull request", "Branch name must match ^x"))
    assert named.details["reason"] == "rule"
    assert "Branch name must match ^x." in named.message
    secret = await said(GH013_SECRET)
    assert (secret.details["reason"], secret.details["secret"]) == ("rule", True)
    assert (secret.details["path"], secret.details["line"]) == ("notebook.py", 14)
    assert "Amazon AWS Access Key ID) in notebook.py line 14" in secret.message
    assert "unblock-secret" in secret.details["url"]
    other = await said("Closed on Sundays.\n")
    assert other.details["reason"] == "other"
    assert "Closed on Sundays." in other.message
    server.reject(NAME, "")
    for reason in (WORKFLOW_SCOPE, APP_WORKFLOWS):
        server.refuse_ref(NAME, reason)
        error = await refused(sender.push(to, token, BRANCH, study.tip))
        assert (error.code, error.details["reason"]) == ("push_rejected", "workflow_scope")
        assert error.message.startswith("Token lacks 'workflow'")
    server.refuse_ref(NAME, "")
    assert (await sender.push(to, token, BRANCH, study.tip)).changed


async def test_no_access(server: GitHttp, tmp_path: Path) -> None:
    study, to = await study_of(tmp_path / "study"), there(server)
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    error = await refused(sender.push(to, Source("wrong-token-12345"), BRANCH, study.tip))
    assert (error.code, error.message) == (
        "github_auth",
        "GitHub refused the token (expired or revoked). Reconnect; your commits are safe locally.",
    )
    assert (await refused(sender.push(to, None, BRANCH, study.tip))).code == "github_auth"
    assert (await refused(sender.heads(to, Source("two\nlines-of-it")))).code == "github_auth"
    server.create(NAME)
    server.forbidden.add(NAME)
    error = await refused(sender.push(to, Source(), BRANCH, study.tip))
    assert error.code == "github_forbidden"
    assert "Contents: write" in error.message
    server.auto_create = False
    absent = there(server, "ana/absent")
    await sender.collect(absent.key, study.root, study.tip)
    assert (await refused(sender.push(absent, Source(), BRANCH, study.tip))).code == "github_forbidden"
    assert not server.pushes()


async def test_no_answer(server: GitHttp, tmp_path: Path) -> None:
    study, to, token = await study_of(tmp_path / "study"), there(server), Source()
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    # The push arrives, its answer does not: looking again tells, and the repetition sends nothing.
    server.lose_answers = 1
    error = await refused(sender.push(to, token, BRANCH, study.tip))
    assert (error.code, error.retryable) == ("github_unreachable", True)
    assert await sender.heads(to, token) == {BRANCH: study.tip}
    assert not (await sender.push(to, token, BRANCH, study.tip)).changed
    assert len(server.pushes()) == 1
    server.close()
    error = await refused(sender.push(to, token, BRANCH, study.tip))
    assert (error.code, error.retryable) == ("github_unreachable", True)


async def test_where_a_token_may_go() -> None:
    allowed = {
        ("https://github.com/a/b.git", "github.com"): "https",
        ("http://127.0.0.1:80/a/b", "127.0.0.1:80"): "http",
        ("http://localhost/a/b", "localhost"): "http",
        ("http://[::1]:80/a/b", "[::1]:80"): "http",
        ("file:///x/y", ""): "file",
    }
    for (url, host), transport in allowed.items():
        assert Destination("h/a/b", url, host).transport() == transport
    for url, host in (
        ("http://github.com/a/b", "github.com"),
        ("https://github.com.evil.org/a/b", "github.com"),
        ("https://github.com@evil.org/a/b", "github.com"),
        ("https://x:y@github.com/a/b", "github.com"),
        ("https://github.com:444/a/b", "github.com"),
        ("https://github.com/a/b?x=1", "github.com"),
        ("https://github.com/a b", "github.com"),
        ("https://github.com/a\n", "github.com"),
        ("ssh://github.com/a/b", "github.com"),
        ("git@github.com:a/b", "github.com"),
        ("ext::sh -c x", ""),
        ("--upload-pack=x", ""),
        ("file://host/x", "host"),
        ("/x/y", ""),
        ("https://[::1/a", "[::1"),
        ("https:///a/b", ""),
    ):
        with pytest.raises(PostdocError) as caught:
            Destination("h/a/b", url, host).transport()
        assert caught.value.code == "forbidden", url


# --- other histories ---


@pytest.mark.parametrize("history", ["full", "squashed"])
@pytest.mark.parametrize("workflows", [True, False])
async def test_histories_that_are_sent_instead(tmp_path: Path, history: str, workflows: bool) -> None:
    study = await study_of(tmp_path / "study", 1)
    await study.step(
        {".github/workflows/a.yml": "on: push\n", ".github/CODEOWNERS": "* ana\n", ".github.txt": "x"}, "A — é"
    )
    await study.step({"c.txt": "c\n", ".github/workflows/b.yml": "on: push\n"})
    await study.step({".github/workflows/a.yml": None, ".github/workflows/b.yml": None})
    await study.step({".github/workflows/c.yml": "on: push\n"})
    to = on_disk(tmp_path)
    sender = publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)

    async def prepare(tip: str) -> tuple[str, str, int]:
        made = await sender.prepare(
            to.key,
            tip,
            base=None,
            history=history,
            workflows=workflows,
            message="All of it\n\nwith words\n",  # type: ignore[arg-type]
        )
        return made.base, made.tip, made.commits

    base, tip, commits = await prepare(study.tip)
    assert (base, tip, commits) == await prepare(study.tip)
    assert base == study.shas[0]  # it has no workflow
    assert commits == (1 if history == "squashed" else 4)
    await sender.push_first(to, None, "main", base)
    await sender.push(to, None, BRANCH, tip)
    plain(tmp_path, "clone", "-q", "-b", BRANCH, to.url, "clone")
    clone = tmp_path / "clone"
    assert plain(clone, "fsck", "--strict") == ""
    shown = set(plain(clone, "ls-tree", "-r", "--name-only", "HEAD").split())
    assert shown == {"file0.txt", ".github/CODEOWNERS", ".github.txt", "c.txt"} | (
        {".github/workflows/c.yml"} if workflows else set()
    )
    log = plain(clone, "log", "--all", "--format=%s|%an|%at|%ct", "--reverse").splitlines()
    if history == "squashed":
        assert log[1] == "All of it|Postdoc research agent|1700000004|1700000004"
        return
    assert log == plain(study.root, "log", "--format=%s|%an|%at|%ct", "--reverse").splitlines()
    touched = plain(clone, "log", "--all", "--format=%H", "--", ".github/workflows")
    assert bool(touched) is workflows
    assert (tip == study.tip) is workflows
    # The next publication goes on where this one ended.
    more = await study.step({"more.txt": "more\n"})
    await sender.collect(to.key, study.root, more)
    _, later, _ = await prepare(more)
    assert (await sender.push(to, None, BRANCH, later)).before == tip


async def test_workflows_of_the_remote_stay_as_they_are(server: GitHttp, tmp_path: Path) -> None:
    """In an existing repository, leaving workflows out must not look like removing them."""
    theirs = await study_of(tmp_path / "theirs", 1)
    base = await theirs.step({".github/workflows/ci.yml": "on: push\n"})
    plain(theirs.root, "push", "-q", str(server.create(NAME)), "main")
    to, token, sender = there(server), Source(), publisher(tmp_path)
    assert await sender.fetch(to, token) == {"main": base}
    root = tmp_path / "ours"
    assert await sender.checkout(to, root, branch=BRANCH, base="main") == base

    git = Git()
    (root / "new.txt").write_text("x\n")
    kept = await git.commit_all(root, subject="one", trailers={})
    (root / ".github/workflows/ci.yml").write_text("on: [push, pull_request]\n")
    (root / ".github/workflows/more.yml").write_text("on: push\n")
    tip = await git.commit_all(root, subject="two", trailers={})
    assert kept is not None
    assert tip is not None
    await sender.collect(to.key, root, tip.sha)
    made = await sender.prepare(to.key, tip.sha, base=base, history="full", workflows=False, message="")
    assert (made.base, made.commits) == (base, 2)
    bare = copy_of(tmp_path, to)
    assert plain(bare, "diff", "--name-only", base, made.tip) == "new.txt"
    assert plain(bare, "rev-parse", f"{made.tip}^") == kept.sha  # right as it is
    single = await sender.prepare(to.key, tip.sha, base=base, history="squashed", workflows=True, message="both")
    assert plain(bare, "diff", "--stat", tip.sha, single.tip) == ""
    assert plain(bare, "log", "-1", "--format=%P %s", single.tip) == f"{base} both"
    # As one commit on a base that it does not come from, it would take away what that base has.
    ahead = await theirs.step({"theirs.txt": "x\n"})
    plain(theirs.root, "push", "-q", str(server.bare(NAME)), "main")
    await sender.fetch(to, token)
    with pytest.raises(PostdocError, match="undo"):
        await sender.prepare(to.key, tip.sha, base=ahead, history="squashed", workflows=True, message="both")


async def test_a_thousand_commits_are_rewritten_at_once(tmp_path: Path) -> None:
    root = tmp_path / "study"
    root.mkdir()
    plain(root, "init", "-q", "-b", "main")
    stream = []
    for number in range(1000):
        stream.append(
            f"commit refs/heads/main\nmark :{number + 1}\ncommitter A <a@b> {1700000000 + number} +0000\n"
            f"data 2\ns\n"
            + (f"from :{number}\n" if number else "")
            + f"M 100644 inline f{number % 50}\ndata 5\n{number:04}\n"
            f"\nM 100644 inline .github/workflows/x.yml\ndata 5\n{number // 10:04}\n\n"
        )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input="".join(stream).encode(), check=True)
    tip, sender = plain(root, "rev-parse", "main"), publisher(tmp_path)
    await sender.collect("h/a/b", root, tip)
    start = time.monotonic()
    made = await sender.prepare("h/a/b", tip, base=None, history="full", workflows=False, message="")
    assert time.monotonic() - start < 8
    assert made.commits == 999
    bare = tmp_path / "data/publish/h/a/b.git"
    assert plain(bare, "log", "--format=%H", made.tip, "--", ".github") == ""
    assert plain(bare, "rev-list", "--count", made.tip) == "1000"


# --- work trees in existing repositories ---


async def test_a_work_tree_of_our_own(server: GitHttp, tmp_path: Path) -> None:
    theirs = await study_of(tmp_path / "theirs", 2)
    plain(theirs.root, "push", "-q", str(server.create(NAME)), "main", "main:refs/heads/dev/x")
    to, token, sender = there(server), Source(), publisher(tmp_path)
    assert await sender.fetch(to, token) == {"main": theirs.tip, "dev/x": theirs.tip}
    asked = token.asked
    root = tmp_path / "ours"
    assert await sender.checkout(to, root, branch=BRANCH, base="main") == theirs.tip
    assert token.asked == asked
    git = Git()
    assert (root / "file1.txt").read_text() == "1\n"
    assert not await git.is_dirty(root)
    assert plain(root, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"
    assert plain(root, "config", "remote.origin.url") == to.url
    assert TOKEN not in (root / ".git/config").read_text()
    assert not list(root.glob(".git/hooks/*")) + list(root.glob(".git/objects/info/alternates"))
    # Again: it is there; and what a session did to it since stays.
    (root / "file1.txt").write_text("changed\n")
    assert await sender.checkout(to, root, branch=BRANCH, base="main") == theirs.tip
    assert (root / "file1.txt").read_text() == "changed\n"

    for place, error in ((tmp_path / "theirs", "not empty"), (root, "not empty")):
        with pytest.raises(PostdocError, match=error):
            await sender.checkout(to, place, branch="other", base="main")
    for base in ("absent", "0" * 40):
        with pytest.raises(PostdocError) as caught:
            await sender.checkout(to, tmp_path / "x", branch=BRANCH, base=base)
        assert caught.value.code == "not_found"
    assert await sender.checkout(to, tmp_path / "at", branch=BRANCH, base=theirs.shas[0]) == theirs.shas[0]
    # Branches that are gone on the remote are gone here.
    plain(server.bare(NAME), "update-ref", "-d", "refs/heads/dev/x")
    assert await sender.fetch(to, token) == {"main": theirs.tip}
    assert sorted(path.name for path in tmp_path.glob("x")) == []


async def test_a_work_tree_that_was_interrupted_is_finished(
    server: GitHttp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = await study_of(tmp_path / "theirs", 2)
    plain(theirs.root, "push", "-q", str(server.create(NAME)), "main")
    to, sender = there(server), publisher(tmp_path)
    await sender.fetch(to, Source())

    class Interrupted(Exception):
        pass

    inner = Git.run
    for calls in itertools.count(1):
        left = [calls]

        async def run(self: Git, *argv: str, **how: object) -> object:
            left[0] -= 1  # noqa: B023
            if not left[0]:  # noqa: B023
                if argv[0] == "checkout-index":  # as if killed after the first file
                    (how["cwd"] / "file0.txt").write_text("hal")  # type: ignore[operator]
                raise Interrupted
            return await inner(self, *argv, **how)  # type: ignore[arg-type]

        root = tmp_path / f"ours{calls}"
        monkeypatch.setattr(Git, "run", run)
        try:
            await Publisher(tmp_path / "data", Git()).checkout(to, root, branch=BRANCH, base="main")
            break
        except Interrupted:
            monkeypatch.setattr(Git, "run", inner)
            assert await publisher(tmp_path).checkout(to, root, branch=BRANCH, base="main") == theirs.tip
            assert not await Git().is_dirty(root)
            assert (root / "file0.txt").read_text() == "0\n"
    assert calls > 8
