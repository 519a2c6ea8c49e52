"""What may not be sent: found in every version of every file that is new to the remote, told without the secret."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import string
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from tests.forge.pushing import Study, plain, publisher

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.guard import GITHUB_MAX, MIB, Policy
from jupyterlab_postdoc.forge.paths import leaves_tree, name_problem, nested_git, touches_workflows
from jupyterlab_postdoc.forge.patterns import PATTERNS, find
from jupyterlab_postdoc.protocol import Finding

KEY = "h/ana/owls"
_letters = random.Random(7)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(_letters.choice(alphabet) for _ in range(count))


HEX, UPPER = "0123456789abcdef", string.ascii_uppercase + string.digits
# Made here, so that no file of this repository holds what looks like a key.
SAMPLES = {
    "an Anthropic key": "sk-ant-" + f"api03-{letters(40)}-{letters(20)}",
    "an OpenAI key": "sk-" + f"proj-{letters(48)}",
    "an OpenRouter key": "sk-" + f"or-v1-{letters(64, HEX)}",
    "a GitHub token": "gh" + f"p_{letters(36)}",
    "a GitLab token": "gl" + f"pat-{letters(20)}",
    "a Hugging Face token": "h" + f"f_{letters(34)}",
    "a Slack token": "xo" + f"xb-{letters(12, string.digits)}-{letters(24)}",
    "a Slack web hook": "https://hooks.slack"
    + f".com/services/T{letters(9, UPPER)}/B{letters(9, UPPER)}/{letters(24)}",
    "an AWS key id": "AK" + f"IA{letters(16, UPPER)}",
    "an AWS secret key": "aws_secret" + f'_access_key = "{letters(40)}"',
    "a Google API key": "AI" + f"za{letters(35)}",
    "a Google client secret": "GOC" + f"SPX-{letters(28)}",
    "a Google access token": "ya" + f"29.{letters(60)}",
    "a Stripe key": "sk" + f"_live_{letters(24)}",
    "an npm token": "np" + f"m_{letters(36)}",
    "a PyPI token": "pyp" + f"i-AgEIcHlwaS5vcmc{letters(60)}",
    "an Azure storage key": "Account" + f"Key={letters(86)}==",
    "an Azure client secret": f"{letters(3)}8" + f"Q~{letters(34)}",
    "a SendGrid key": "S" + f"G.{letters(22)}.{letters(43)}",
    "a Groq key": "gs" + f"k_{letters(52)}",
    "a Replicate token": "r" + f"8_{letters(37)}",
    "an xAI key": "xa" + f"i-{letters(80)}",
    "a Databricks token": "da" + f"pi{letters(32, HEX)}",
    "a DigitalOcean token": "do" + f"p_v1_{letters(64, HEX)}",
    "a Docker token": "dc" + f"kr_pat_{letters(27)}",
    "a Telegram bot token": f"{letters(9, '123456789')}:" + f"AA{letters(33)}",
    "a Kaggle key": '{"username":"ana","ke' + f'y":"{letters(32, HEX)}"}}',
    "a JSON Web Token": "ey" + f"J{letters(30)}.ey" + f"J{letters(60)}.{letters(43)}",
    "a private key": "-----BEGIN RSA PRIVATE" + f" KEY-----\n{letters(64)}\n{letters(64)}\n",
    "a password in an address": "postgres:/" + f"/ana:{letters(12)}@db.example.org/owls",
}
MORE = {
    "a GitHub token": "github" + f"_pat_{letters(22)}_{letters(59)}",
    "an OpenAI key": "sk-" + f"{letters(20)}T3Blb" + f"kFJ{letters(20)}",
    "a private key": '"-----BEGIN PRIVATE' + f' KEY-----\\n{letters(64)}\\n"',
    "a JSON Web Token": "Bearer ey" + f"J{letters(30)}.ey" + f"J{letters(60)}.{letters(43)}",
    "a password in an address": "redis:/" + f"/:{letters(12)}@[::1]:6379",
}
HARMLESS = (
    "sk-learn and sk-ant- and sk-proj-short",
    "https://example.org/a:b@c https://user:password@example.org https://${USER}:${TOKEN}@host https://<u>:<p>@h.org",
    "mailto:ana@example.org ana@example.org:22 git@github.com:ana/owls.git http://[::1]:80/@x",
    "https://unpkg.com/lib@1.2.3/x.js https://medium.com/@ana/post https://host:8080/@x https://x.org/?a=b:c@d",
    "-----BEGIN PRIVATE" + " KEY----- is how such a file begins -----END PRIVATE KEY-----",
    "AKIA is a prefix; AKIASHORT; xAKIA" + "ABCDEFGHIJKLMNOP",
    '"key": "a short one", "key": 12, {"key": "0123456789abcdef"}',
    "eyJhbGciOi.not.enough",
    "npm_config_cache=/home/ana/.npm npm_package_name",
    "hf_hub_download(repo_id) hf_transfer",
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    root = tmp_path / "study"
    root.mkdir()
    return Study(root)


async def scan(study: Study, tmp_path: Path, *, known: Collection[str] = (), **policy: object) -> list[Finding]:
    return await scan_at(study.root, study.tip, tmp_path, known=known, **policy)


async def scan_at(
    root: Path, tip: str, tmp_path: Path, *, known: Collection[str] = (), **policy: object
) -> list[Finding]:
    sender = publisher(tmp_path)
    await sender.collect(KEY, root, tip)
    return await sender.scan(KEY, tip, known=known, policy=Policy(**policy))  # type: ignore[arg-type]


def built(root: Path, *entries: tuple[str, str, bytes | str], parent: str = "", message: str = "raw") -> str:
    """A commit whose tree holds what git's own commands refuse: mode, path (one level), content or sha."""
    if not (root / ".git").exists():
        plain(root, "init", "-q", "-b", "main")
    lines = []
    for mode, path, content in entries:
        sha = content if isinstance(content, str) else blob(root, content)
        lines.append(
            f"{mode} {'tree' if mode == '040000' else 'commit' if mode == '160000' else 'blob'} {sha}\t{path}\0"
        )
    done = subprocess.run(
        ["git", "mktree", "-z", "--missing"], cwd=root, input="".join(lines).encode(), capture_output=True, check=True
    )
    parents = ["-p", parent] if parent else []
    return plain(root, "commit-tree", done.stdout.decode().strip(), *parents, "-m", message)


def blob(root: Path, content: bytes) -> str:
    done = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=root, input=content, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


# --- secrets ---


@pytest.mark.parametrize("kind", sorted({pattern.kind for pattern in PATTERNS}))
def test_each_kind_is_known(kind: str) -> None:
    for sample in {SAMPLES[kind], MORE.get(kind, SAMPLES[kind])}:
        for text in (sample, f'token = "{sample}"', f"x\n\n  - {sample}\n", f"({sample})", f"={sample};", sample + " "):
            assert kind in {pattern.kind for pattern, _, _ in find(text.encode())}, text
    if SAMPLES[kind][0].isalnum() and kind != "a password in an address":
        assert kind not in {pattern.kind for pattern, _, _ in find(f"abc{SAMPLES[kind]}".encode())}


def test_what_only_resembles_one_is_left_alone() -> None:
    for text in HARMLESS:
        assert list(find(text.encode())) == [], text
    assert list(find(base64.b64encode(random.Random(3).randbytes(3 << 20)))) == []
    assert list(find(random.Random(4).randbytes(3 << 20).hex().encode())) == []


async def test_a_secret_is_found_where_it_came_in(study: Study, tmp_path: Path) -> None:
    secret = SAMPLES["a GitHub token"]
    await study.step({"README.md": "Owls\n"})
    culprit = await study.step({"notebook.py": f"import x\n\nTOKEN = '{secret}'\n", "é/ü.txt": "x"})
    await study.step({"notebook.py": f"import x\nimport y\n\nTOKEN = '{secret}'\n"})
    (found,) = await scan(study, tmp_path)
    assert (found.kind, found.path, found.line, found.commit, found.step, found.blocking) == (
        "secret", "notebook.py", 3, culprit, "1", True,
    )  # fmt: skip
    assert found.text.startswith("looks like a GitHub token")
    # Removing it does not help: it is in the history. The finding says what would.
    await study.step({"notebook.py": "import x\n"})
    (found,) = await scan(study, tmp_path)
    assert (found.commit, found.line) == (culprit, 3)
    assert "no longer in the newest version" in found.text
    assert not any(secret[4:] in repr(one) for one in [found])
    # As one commit it is not sent at all, and what the remote has is not looked at again.
    sender = publisher(tmp_path)
    single = await sender.prepare(KEY, study.tip, base=None, history="squashed", workflows=True, message="x")
    assert await sender.scan(KEY, single.tip, known=[], policy=Policy()) == []
    assert await scan(study, tmp_path, known=[study.shas[2], "0" * 40]) == []


async def test_all_kinds_in_one_study(study: Study, tmp_path: Path) -> None:
    await study.step({f"{number}.py": f"x = 1\ny = '''{text}'''\n" for number, text in enumerate(SAMPLES.values())})
    found = await scan(study, tmp_path)
    assert {int(one.path[:-3]) for one in found} == set(range(len(SAMPLES)))
    assert {one.line for one in found} == {2}
    shown = repr(found)
    for sample in SAMPLES.values():
        assert sample[-16:] not in shown


async def test_a_secret_of_this_server_is_found_in_every_disguise(study: Study, tmp_path: Path) -> None:
    value = f"canary-{letters(30)}"
    large = os.urandom(3 * MIB)
    await study.step(
        {
            "plain.txt": f"a\nb {value}\n",
            "coded.ipynb": base64.b64encode(f"some text {value} and more".encode()).decode(),
            "data.csv": "1,2\n" * (MIB // 2) + value + "\n",
            "picture.png": large[: MIB - 7] + value.encode() + large[MIB - 7 :],
            "clean.png": large,
        }
    )
    assert await scan(study, tmp_path) == []
    secrets.register(value)  # only now: what it knows is not even committed
    found = {one.path: one for one in await scan(study, tmp_path)}
    assert set(found) == {"plain.txt", "coded.ipynb", "data.csv", "picture.png"}
    assert (found["plain.txt"].line, found["data.csv"].line, found["picture.png"].line) == (2, MIB // 2 + 1, None)
    assert value not in repr(found)


async def test_large_data_is_skipped_and_large_code_is_not(study: Study, tmp_path: Path) -> None:
    line = SAMPLES["a GitHub token"] + "\n"
    filler = "x = 1  # nothing\n" * (MIB // 16)
    await study.step({"big.csv": filler + line, "big.py": filler * 2 + line, "small.csv": line})
    found = {one.path: one.line for one in await scan(study, tmp_path)}
    assert found == {"big.py": 2 * (MIB // 16) + 1, "small.csv": 1}


async def test_messages_and_names_hold_secrets_too(study: Study, tmp_path: Path) -> None:
    secret = SAMPLES["a Hugging Face token"]
    await study.step({"a.txt": "a"}, f"Use {secret}")
    await study.step({f"{SAMPLES['a GitHub token']}.txt": "a"})
    found = await scan(study, tmp_path)
    assert [(one.kind, one.path, one.step) for one in found] == [("secret", "", "0"), ("secret", "", "1")]
    assert "in the message of commit" in found[0].text
    assert secret not in repr(found)
    assert SAMPLES["a GitHub token"] not in repr(found)


# --- everything else ---


async def test_large_files(study: Study, tmp_path: Path) -> None:
    await study.step({"warn.bin": bytes(3 * MIB), "stop.bin": bytes(6 * MIB), "fine.bin": bytes(2 * MIB)})
    await study.step({"stop.bin": None})
    found = await scan(study, tmp_path, max_file_bytes=5 * MIB, warn_bytes=2 * MIB)
    assert [(one.path, one.kind, one.blocking) for one in found] == [
        ("stop.bin", "large_file", True),
        ("warn.bin", "large_file", False),
    ]
    assert found[0].text.startswith("6.0 MB: larger than 5.0 MB")
    assert "one commit" in found[0].text
    assert Policy().warn_bytes == 10 * MIB
    assert GITHUB_MAX == 100 * MIB


async def test_no_policy_sends_what_github_refuses(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    tip = built(root, ("100644", "huge.bin", bytes(GITHUB_MAX + 1)))
    (found,) = await scan_at(root, tip, tmp_path, max_file_bytes=1 << 40, warn_bytes=1 << 40)
    assert (found.kind, found.blocking) == ("large_file", True)


async def test_workflows(study: Study, tmp_path: Path) -> None:
    own, path = "on: push\n", ".github/workflows/reproduce.yml"
    ours = {path: hashlib.sha256(own.encode()).hexdigest()}
    first = await study.step({path: own, "x.txt": "x"})
    assert await scan(study, tmp_path, own_workflows=ours) == []
    assert await scan(study, tmp_path, own_workflows={path: {"0" * 64, ours[path]}}) == []
    (found,) = await scan(study, tmp_path)
    assert (found.kind, found.path, found.step) == ("workflow", path, "0")
    # The same contents elsewhere, other contents here, and a removal are not what Postdoc wrote.
    await study.step({".github/workflows/other.yml": own})
    await study.step({path: own + "# more\n"})
    found_all = await scan(study, tmp_path, own_workflows=ours)
    assert {(one.path, one.step) for one in found_all} == {(path, "2"), (".github/workflows/other.yml", "1")}
    assert await scan(study, tmp_path, own_workflows=ours, allow_workflows=True) == []
    gone = await study.step({path: None})
    (removed,) = await scan(study, tmp_path, known=[study.shas[2]], own_workflows=ours)
    assert (removed.kind, removed.commit) == ("workflow", gone)
    assert first in plain(study.root, "rev-list", "HEAD")


async def test_what_a_merge_brings_from_the_remote_is_not_the_agents(study: Study, tmp_path: Path) -> None:
    base = await study.step({"a.txt": "a"})
    theirs = built(study.root, ("100644", "a.txt", b"a"), ("100644", "big.bin", bytes(3 * MIB)), parent=base)
    mine = await study.step({"b.txt": "b"})
    tree = plain(study.root, "merge-tree", "--write-tree", mine, theirs)
    merge = plain(study.root, "commit-tree", tree, "-p", mine, "-p", theirs, "-m", "merge")
    limits = {"max_file_bytes": 2 * MIB}
    assert await scan_at(study.root, merge, tmp_path, known=[theirs], **limits) == []
    assert len(await scan_at(study.root, merge, tmp_path, **limits)) == 1
    # But what the merge itself adds is.
    evil = built(study.root, ("100644", "evil.bin", bytes(4 * MIB)), message="m")
    merge = plain(study.root, "commit-tree", f"{evil}^{{tree}}", "-p", mine, "-p", theirs, "-m", "merge")
    assert [one.path for one in await scan_at(study.root, merge, tmp_path, known=[theirs], **limits)] == ["evil.bin"]


async def test_links_modules_and_names(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    text = b"x\n"
    tip = built(
        root,
        ("120000", "out", b"../secret"),
        ("120000", "abs", b"/etc/passwd"),
        ("120000", "git", b".git/config"),
        ("120000", "fine", b"data/x.csv"),
        ("160000", "module", "1" * 40),
        ("100644", "new\nline", text),
        ("100644", "esc\x1b[31m", text),
        ("100644", "a:b.csv", text),
        ("100644", "con.txt", text),
        ("100644", "fine.txt", text),
    )
    found = {one.path: (one.kind, one.blocking) for one in await scan_at(root, tip, tmp_path)}
    assert found == {
        "out": ("link", True),
        "abs": ("link", True),
        "git": ("link", True),
        "module": ("submodule", True),
        "new\\x0aline": ("name", True),
        "esc\\x1b[31m": ("name", True),
        "a:b.csv": ("name", False),
        "con.txt": ("name", False),
    }


def test_paths() -> None:
    for path in (".git/x", "a/.GIT/b", "a/git~1", ".git. ", "x/.g\u200cit/y", ".git::$INDEX_ALLOCATION/x"):
        assert nested_git(path), path
    for path in (".github/x", ".gitignore", "a.git/x", "digit", ".gitattributes"):
        assert not nested_git(path), path
    for path in (".github/workflows/x.yml", ".GitHub/Workflows/X.yml", ".github/workflows", ".github"):
        assert touches_workflows(path), path
    assert not touches_workflows(".github/CODEOWNERS")
    for path, blocking in (("a\x7fb", True), ("a\\b", True), ("a\udcffb", True), ("x" * 300, True), ("a?", False),
                           ("dir /x", False), ("x.", False), ("a/NUL", False), ("COM1.txt", False)):  # fmt: skip
        problem = name_problem(path)
        assert problem is not None, path
        assert problem[1] is blocking, path
    for path in ("ä/日本 (1).csv", "a b.txt", ".hidden", "console.txt", "x..y"):
        assert name_problem(path) is None, path
    for path, target in (("a/l", "../../x"), ("l", ".."), ("l", "~/x"), ("l", "C:\\x"), ("l", ""), ("a/l", "../.git")):
        assert leaves_tree(path, target), (path, target)
    for path, target in (("a/l", "../x"), ("l", "a/b"), ("l", "."), ("a/b/l", "../../c")):
        assert not leaves_tree(path, target), (path, target)


async def test_a_link_can_be_a_secret_and_huge(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    tip = built(root, ("120000", "link", SAMPLES["a GitHub token"].encode()))
    (found,) = await scan_at(root, tip, tmp_path)
    assert (found.kind, found.path) == ("secret", "link")
    tip = built(root, ("120000", "link", bytes(33 * MIB)))
    with pytest.raises(PostdocError) as caught:
        await scan_at(root, tip, tmp_path)
    assert caught.value.code == "too_large"


async def test_a_flood_of_findings_is_cut(study: Study, tmp_path: Path) -> None:
    await study.step({f"{number}.txt": "gh" + f"p_{letters(36)}\n" for number in range(300)})
    assert len(await scan(study, tmp_path)) == 100


async def test_it_is_quick(study: Study, tmp_path: Path) -> None:
    rows = "".join(
        f"2026-01-{n % 28 + 1:02},https://example.org/{n},{n * 1.5:.4f},owl {n % 7}\n" for n in range(20_000)
    )
    await study.step({f"src/{number}.py": f"x = {number}\n" * 200 for number in range(200)})
    await study.step({"data.csv": rows})
    sender = publisher(tmp_path)
    await sender.collect(KEY, study.root, study.tip)
    start = time.monotonic()
    assert await sender.scan(KEY, study.tip, known=[], policy=Policy()) == []
    assert time.monotonic() - start < 3  # 0.1 s here; other tests share the machine
