"""The files of a study: complete, honest, safe on a hostile tree, and the same bytes every time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.repository import (
    Outcome,
    StepRecord,
    Study,
    _skeleton,
    add_dataset,
    own_workflows,
    write_home,
    write_results,
    write_skeleton,
)
from jupyterlab_postdoc.forge.text import clean, one_line

VERDICT = {
    "claim": "Losers beat winners",
    "supported": False,
    "estimate": 0.00123,
    "ci_low": -0.004,
    "ci_high": 0.0065,
    "p_value": 0.00001,
    "n_obs": 1200,
    "unit": "per month",
    "summary": "The spread is 0.12 % a month (95 % interval -0.40 to 0.65). That is not distinguishable from zero.",
    "limits": ["One market only.", "No costs of *borrowing*."],
    "data": "synthetic-null",
    "seed": 7,
}


def study(**changes: Any) -> Study:
    given: dict[str, Any] = {
        "topic": "Short Term Reversal",
        "title": "Signal study",
        "repo_name": "short-term-reversal",
        "template": "equity_signal",
        "template_version": "1.0.0",
        "provider": "template",
        "session": "s-1",
        "run": "r-1",
        "author": "Ada Lovelace",
        "created": 1.79e9,
        "parameters": {"data": "/home/ada/private/returns.csv", "lookback": 3},
        "requires": ["numpy", "pandas"],
        "plan": ["Look at the data", "Test it"],
        "references": [{"text": "Jegadeesh (1990)", "doi": "10.1111/j.1540-6261.1990.tb05110.x"}],
        "steps": [StepRecord("plan", "Plan", "a" * 40)],
        "finished": 1.79e9 + 60,
    }
    return Study(**{**given, **changes})


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_the_skeleton_is_complete_valid_and_deterministic(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        await write_skeleton(tmp_path / name, study())
    files = tree(tmp_path / "one")
    assert files == tree(tmp_path / "two")
    await write_skeleton(tmp_path / "one", study())
    assert tree(tmp_path / "one") == files
    assert set(files) == {
        *("README.md", "LICENSE", "CITATION.cff", "AGENTS.md", "provenance.json", "reproduce.py", "pyproject.toml"),
        *("requirements.lock", ".python-version", ".gitignore", ".gitattributes", ".github/workflows/reproduce.yml"),
        *("data/README.md", "data/MANIFEST.json"),
    }
    assert "Copyright (c) 2026 Ada Lovelace" in files["LICENSE"].decode()
    assert "CC-BY-4.0" in files["LICENSE"].decode()
    readme = files["README.md"].decode()
    assert "there is no result yet" in readme
    assert "**under review**" in readme
    assert "[pull request](../../pulls?q=is%3Apr)" in readme  # GitHub shows this page at OWNER/NAME/blob/main/
    assert "```" not in readme  # there is nothing to reproduce on this branch
    for content in files.values():
        assert str(tmp_path).encode() not in content
        assert b"/home/ada" not in content
        assert content.endswith(b"\n")
        assert not content.endswith(b"\n\n")


async def test_the_environment_is_pinned_whole(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text(
        "import altair as alt\nimport json\nfrom matplotlib import pyplot\nimport nowhere\n"
    )
    await write_skeleton(tmp_path, study())
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    direct = dict(pin.split("==") for pin in project["dependencies"])
    assert set(direct) == {"altair", "marimo", "matplotlib", "numpy", "openpyxl", "pandas", "pyarrow"}
    assert direct == {name: metadata.version(name) for name in direct}
    lines = (tmp_path / "requirements.lock").read_text().splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert direct.items() <= locked.items()
    # Closed: everything that a locked package needs here is locked too, in the version that it asks for.
    for name in locked:
        for requirement in map(Requirement, metadata.requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                version = locked[re.sub(r"[-_.]+", "-", requirement.name).lower()]
                assert requirement.specifier.contains(version, prereleases=True), (name, requirement)
    assert not {"pytest", "tornado", "jupyterlab-postdoc"} & set(locked)
    assert "://" not in "\n".join(lines)


@pytest.fixture
def workflows(tmp_path: Path) -> dict[str, str]:
    """Both workflows as a study with a hostile topic gets them: path to text."""
    root = tmp_path / "workflows"
    root.mkdir()
    _skeleton(root, study(topic="${{ github.token }}\n      - run: evil", pages=True))
    return {path: content.decode() for path, content in tree(root).items() if path.startswith(".github/")}


def steps_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


async def test_the_workflows_are_safe_by_themselves(workflows: dict[str, str]) -> None:
    """What actionlint and zizmor look for: pins, least rights, timeouts, no text of others in a script."""
    assert set(workflows) == {".github/workflows/reproduce.yml", ".github/workflows/pages.yml"}
    for path, text in workflows.items():
        workflow = yaml.safe_load(text)
        triggers = workflow.pop(True)  # YAML 1.1 reads the key `on` as a truth value
        assert set(workflow) == {"name", "permissions", "concurrency", "jobs"}, path
        assert set(triggers) <= {"push", "pull_request", "workflow_dispatch"}
        assert set(workflow["permissions"].items()) <= {("contents", "read")}
        ids = {step["id"] for step in steps_of(workflow) if "id" in step}
        for job in workflow["jobs"].values():
            assert 0 < job["timeout-minutes"] <= 60
            assert job["runs-on"] == "ubuntu-latest"
            assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step)
                if "uses" in step:
                    assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
                    assert re.search(rf"{step['uses']} # v\d+\.\d+\.\d+\n", text)
                else:
                    assert "${{" not in step["run"]
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False
        assert set(re.findall(r"steps\.([a-z]+)\.", text)) <= ids
        assert all(word not in text for word in ("evil", "secrets.", "pull_request_target", "\t"))
        assert all(len(line) <= 120 for line in text.splitlines())


async def test_only_the_deployment_may_write_and_only_to_the_pages(workflows: dict[str, str]) -> None:
    pages = yaml.safe_load(workflows[".github/workflows/pages.yml"])["jobs"]
    assert pages["build"]["permissions"] == {"contents": "read"}
    assert pages["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert [step.get("uses", "")[:21] for step in pages["deploy"]["steps"]] == ["actions/deploy-pages@"]
    assert "default_branch" in pages["build"]["if"]
    assert "has_pages" in pages["build"]["if"]
    reproduce = yaml.safe_load(workflows[".github/workflows/reproduce.yml"])["jobs"]["reproduce"]
    assert "permissions" not in reproduce


@pytest.mark.parametrize("links", [False, True])
async def test_the_site_has_the_report_and_nothing_that_a_link_leads_to(
    tmp_path: Path, workflows: dict[str, str], links: bool
) -> None:
    steps = steps_of(yaml.safe_load(workflows[".github/workflows/pages.yml"]))
    script = next(step["run"] for step in steps if step.get("id") == "site")
    (tmp_path / "reports").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "reports" / "report.html").write_text("report")
    if links:
        (tmp_path / "results.json").symlink_to(tmp_path / "secret")
    else:
        (tmp_path / "results.json").write_text("{}")
    done = subprocess.run(  # noqa: ASYNC221
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path, env={**os.environ, "GITHUB_OUTPUT": str(tmp_path / "out")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    site = {path.name for path in (tmp_path / "site").iterdir()}
    assert site == ({"index.html"} if links else {"index.html", "results.json"})
    assert (tmp_path / "out").read_text() == "ready=yes\n"


async def test_the_workflows_of_postdoc_are_known_by_their_contents(workflows: dict[str, str]) -> None:
    own = own_workflows()
    assert set(own) == set(workflows)
    for path, text in workflows.items():
        assert own[path][0] == hashlib.sha256(text.encode()).hexdigest()
        assert hashlib.sha256(text.replace("contents: read", "contents: write").encode()).hexdigest() not in own[path]


async def test_no_pages_unless_somebody_wants_them(tmp_path: Path) -> None:
    await write_skeleton(tmp_path, study())
    assert [path.name for path in (tmp_path / ".github" / "workflows").iterdir()] == ["reproduce.yml"]


async def test_a_published_study_names_its_address_and_nothing_else_changes(tmp_path: Path) -> None:
    at = {"home": "https://github.com/ana/owls", "branch": "agent/short-term-reversal/1234abcd"}
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        await write_skeleton(tmp_path / name, study())
        await write_results(tmp_path / name, study(**(at if name == "after" else {})), VERDICT)
    changed = await write_home(tmp_path / "before", study(), at["home"], at["branch"])
    assert changed == ["README.md", "CITATION.cff", "provenance.json"]
    assert tree(tmp_path / "before") == tree(tmp_path / "after")
    assert await write_home(tmp_path / "before", study(**at), at["home"], at["branch"]) == []
    assert await write_home(tmp_path / "before", study(), at["home"], at["branch"]) == []
    readme = (tmp_path / "before" / "README.md").read_text()
    assert "git clone https://github.com/ana/owls owls\npython3 owls/reproduce.py\n" in readme
    assert "`git clone --branch agent/short-term-reversal/1234abcd https://github.com/ana/owls owls`" in readme
    assert "https://github.com/ana/owls/actions/workflows/reproduce.yml/badge.svg" in readme
    assert "ADDRESS" not in readme
    citation = yaml.safe_load((tmp_path / "before" / "CITATION.cff").read_text())
    assert citation["repository-code"] == at["home"]
    # A file that was written without the address in between gets it again.
    await write_results(tmp_path / "before", study(), VERDICT)
    assert await write_home(tmp_path / "before", study(**at), at["home"], at["branch"]) == changed
    assert tree(tmp_path / "before") == tree(tmp_path / "after")
    # It moved, and is published once more under the new name.
    moved = "https://github.com/owl-lab/owls"
    assert await write_home(tmp_path / "before", study(**at), moved) == changed
    assert "ana" not in (tmp_path / "before" / "README.md").read_text()


@pytest.mark.parametrize(
    "home",
    ["", "https://github.com/a/b; rm -rf ~", "https://github.com/a/$(id)", "file:///etc/x/y", "https://u:p@h.com/a/b",
     "https://github.com/a/..", "https://h.com/a/b\nx", "javascript://h.com/a/b"],
)  # fmt: skip
async def test_an_address_that_is_none_stands_in_no_command(tmp_path: Path, home: str) -> None:
    await write_skeleton(tmp_path, study())
    assert await write_home(tmp_path, study(), home) == []
    await write_results(tmp_path, study(home=home, branch="x; id"), VERDICT)
    text = (tmp_path / "README.md").read_text()
    assert "git clone ADDRESS short-term-reversal\n" in text
    assert "id" not in re.findall(r"`git clone --branch (\S+)", text)
    assert "repository-code" not in (tmp_path / "CITATION.cff").read_text()


async def test_a_licence_of_somebody_else_is_not_called_ours(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("Apache License\n")
    await write_skeleton(tmp_path, study())
    await write_results(tmp_path, study(), VERDICT)
    assert (tmp_path / "LICENSE").read_text() == "Apache License\n"
    assert "Licence: see `LICENSE`." in (tmp_path / "README.md").read_text()
    assert "license" not in yaml.safe_load((tmp_path / "CITATION.cff").read_text())
    (tmp_path / "LICENSE").unlink()
    await write_results(tmp_path, study(), VERDICT)
    assert "No licence: all rights are reserved." in (tmp_path / "README.md").read_text()


async def test_the_header_of_the_notebook_pins_what_the_lock_file_pins(tmp_path: Path) -> None:
    await write_skeleton(tmp_path, study())
    notebook = tmp_path / "notebook.py"
    notebook.write_text(
        '# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n#     "marimo==0.1",\n#     "numpy",\n'
        '#     "Some_thing[x]>=1",\n# ]\n#\n# [tool.uv]\n# exclude-newer = "2026-01-01"\n# ///\n'
        "import marimo\nimport numpy\n"
    )
    os.utime(notebook, ns=(5, 7))
    await write_results(tmp_path, study(requires=["numpy"]), VERDICT)
    text = notebook.read_text()
    header = text.partition("# /// script\n")[2].partition("# ///\n")[0]
    found = tomllib.loads("".join(line[2:] for line in header.splitlines(keepends=True)))
    assert found == {
        "requires-python": ">=3.11",
        "dependencies": [f"{name}=={metadata.version(name)}" for name in ("marimo", "numpy")] + ["Some_thing[x]>=1"],
        "tool": {"uv": {"exclude-newer": "2026-01-01"}},
    }
    assert text.endswith("# ///\nimport marimo\nimport numpy\n")
    assert notebook.stat().st_mtime_ns == 7  # its last run still counts
    await write_results(tmp_path, study(requires=["numpy"]), VERDICT)
    assert notebook.read_text() == text
    for broken in ("import numpy\n", "# /// script\n# dependencies = [\n# ///\nimport numpy\n"):
        notebook.write_text(broken)
        await write_results(tmp_path, study(), VERDICT)
        assert notebook.read_text() == broken


async def test_the_span_of_the_data_is_part_of_the_result(tmp_path: Path) -> None:
    root, source = tmp_path / "study", tmp_path / "returns.csv"
    root.mkdir()
    source.write_text("month_end,r\n2020-02-29,1\n2019-12-31T00:00:00Z,2\n")
    entry = await add_dataset(root, source)
    assert entry["span"] == {"column": "month_end", "first": "2019-12-31", "last": "2020-02-29"}
    for name in ("data/returns.csv", "synthetic-fibres.csv", "data/synthetic.csv"):  # real data, whatever its name
        await write_results(root, study(), {**VERDICT, "data": name})
        text = (root / "README.md").read_text()
        assert f"3. Data: {name}, dates from 2019-12-31 to 2020-02-29, seed 7," in text
    await write_results(root, study(), VERDICT)
    assert "dates from" not in (root / "README.md").read_text()
    source.write_text("date,r\n01/02/2020,1\n")
    assert "span" not in await add_dataset(root, source)


async def test_the_readme_gives_the_answer_with_its_uncertainty(tmp_path: Path) -> None:
    await write_skeleton(tmp_path, study())
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "figure.png").write_bytes(b"png")
    (tmp_path / "results.json").write_text(json.dumps(VERDICT))
    await write_results(tmp_path, study(), VERDICT)
    text = (tmp_path / "README.md").read_text()
    result = text.partition("## Result\n\n")[2].partition("\n\n")[0].splitlines()
    assert result == [
        "1. **Not supported:** Losers beat winners",
        "2. Estimate: **0.00123** per month (95 % interval -0.004 to 0.0065); p < 0.0001; n = 1,200.",
        "3. Data: synthetic-null (simulated: the figures say how the method works, not how the world does), "
        "seed 7, computed on 2026-09-21.",
    ]
    for part in (
        *(VERDICT["summary"], "figures/figure.png", "requirements.lock", "reproduce.py", "- One market only."),
        *(
            "No costs of \\*borrowing\\*.",
            "no language model was used",
            "Reviewed by: nobody yet",
            "1. Look at the data",
        ),
        *("https://doi.org/10.1111/", "template equity_signal v1.0.0"),
    ):
        assert part in text, part
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["steps"] == [{"key": "plan", "title": "Plan", "commit": "a" * 40}]
    assert provenance["parameters"] == {"data": "returns.csv", "lookback": 3}
    assert provenance["language_model_used"] is False
    assert provenance["outcome"]["state"] == "done"
    files = {
        "results.json",
        "requirements.lock",
        "reproduce.py",
        ".github/workflows/reproduce.yml",
        "figures/figure.png",
    }
    assert set(provenance["files"]) == files
    for path, digest in provenance["files"].items():
        assert digest == hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
    assert "has others" in provenance["commits_are"]
    assert "published" not in provenance


async def test_a_model_is_named_when_one_was_used(tmp_path: Path) -> None:
    await write_results(tmp_path, study(provider="anthropic", model="some-model"), VERDICT)
    text = (tmp_path / "README.md").read_text()
    assert "written by the language model some-model" in text
    assert "no language model" not in text


async def test_an_unfinished_study_claims_nothing(tmp_path: Path) -> None:
    outcome = Outcome("failed", "Cell `load` failed: the file has no column <date>.")
    await write_results(tmp_path, study(), None, outcome=outcome)
    text = (tmp_path / "README.md").read_text()
    assert "**This study did not finish.** Cell \\`load\\` failed: the file has no column &lt;date&gt;." in text
    assert "Supported" not in text
    assert "Estimate" not in text
    await write_results(tmp_path, study(), VERDICT, outcome=Outcome("stopped", "Stopped by Ada."))
    text = (tmp_path / "README.md").read_text()
    assert "was stopped before it finished" in text
    assert "Treat them as unfinished" in text
    await write_results(tmp_path, study(), None)
    assert "There is no verdict" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    "verdict",
    [
        {},
        {key: None for key in VERDICT},
        {"estimate": float("nan"), "ci_low": "x", "limits": "one", "supported": "yes", "claim": ["a"], "data": 3},
        {"limits": [None, {"a": 1}, "x\n# y"], "summary": {"a": 1}, "p_value": -1, "n_obs": 10**400, "seed": True},
        {"estimate": float("inf"), "ci_low": 0, "ci_high": float("nan"), "p_value": 0.5},
    ],
)
async def test_a_strange_verdict_never_breaks_the_readme(tmp_path: Path, verdict: dict[str, Any]) -> None:
    await write_results(tmp_path, study(), verdict)
    text = (tmp_path / "README.md").read_text()
    assert "**Undecided:**" in text
    assert not re.search(r"\b(nan|inf|None)\b", text)


TEXT = st.text(st.characters(exclude_categories=[]), max_size=60) | st.text("`*<>\"'#\\\n:-{}[]&!|%@ a", max_size=60)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topic=TEXT, author=TEXT, value=TEXT)
def test_any_text_gives_files_that_parse_back(tmp_path: Path, topic: str, author: str, value: str) -> None:
    root = tmp_path / "study"
    for path in ("CITATION.cff", "README.md", "provenance.json"):
        (root / path).unlink(missing_ok=True)
    root.mkdir(exist_ok=True)
    _skeleton(root, study(topic=topic, author=author, parameters={"name": f"is {value}"}))
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["title"] == (one_line(topic) or "Study")
    assert citation["authors"] == [{"name": one_line(author, 100) or "unknown"}]
    assert tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["description"] == one_line(
        topic
    )
    provenance = json.loads((root / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["topic"] == clean(topic)
    assert provenance["parameters"] == {"name": f"is {clean(value)}" if value else "is "}
    assert not re.search(r"<(?!https://doi)", (root / "README.md").read_text(encoding="utf-8"))


async def test_the_citation_has_what_the_standard_asks_for(tmp_path: Path) -> None:
    await write_skeleton(tmp_path, study())
    citation = yaml.load((tmp_path / "CITATION.cff").read_text(), yaml.BaseLoader)
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", citation["date-released"])


async def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "study", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "victim").write_text("mine")
    (root / "README.md").symlink_to(outside / "victim")
    await write_results(root, study(), VERDICT)
    assert (outside / "victim").read_text() == "mine"
    assert not (root / "README.md").is_symlink()
    (root / ".github").symlink_to(outside)
    with pytest.raises(PostdocError, match=r"\.github") as caught:
        await write_skeleton(root, study())
    assert caught.value.code == "forbidden"
    (root / "data").rename(root / "elsewhere") if (root / "data").exists() else None
    (root / "data").symlink_to(outside)
    source = tmp_path / "x.csv"
    source.write_text("a\n1\n")
    with pytest.raises(PostdocError, match="data"):
        await add_dataset(root, source)
    assert [path.name for path in outside.iterdir()] == ["victim"]


async def test_a_dataset_is_copied_and_described(tmp_path: Path) -> None:
    root = tmp_path / "study"
    root.mkdir()
    await write_skeleton(root, study())
    source = tmp_path / "Rendité (mine) 2026.CSV"
    with source.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(
            [["date", "retürn; net"], ["2020-01-01", 'a "b"\nc'], ["2020-01-02", 1]]
        )
    entry = await add_dataset(root, source, retrieved=1.79e9)
    assert entry == {
        "path": "data/rendite-mine-2026.csv",
        "source": "Rendité (mine) 2026.CSV",
        "bytes": source.stat().st_size,
        "sha256": entry["sha256"],
        "rows": 2,
        "columns": 2,
        "column_names": ["date", "retürn; net"],
        "span": {"column": "date", "first": "2020-01-01", "last": "2020-01-02"},
        "licence": "unknown",
        "retrieved": "2026-09-21T14:13:20Z",
        "included": True,
    }
    assert (root / entry["path"]).read_bytes() == source.read_bytes()
    assert await add_dataset(root, source) == entry
    other = tmp_path / "sub" / source.name
    other.parent.mkdir()
    other.write_text("a,b\n1,2\n")
    assert (await add_dataset(root, other))["path"] == "data/rendite-mine-2026-2.csv"
    manifest = json.loads((root / "data" / "MANIFEST.json").read_text())
    assert [item["path"] for item in manifest["files"]] == [
        "data/rendite-mine-2026-2.csv",
        "data/rendite-mine-2026.csv",
    ]
    assert str(tmp_path) not in (root / "data" / "MANIFEST.json").read_text()

    # Copied before a crash, but not yet in the manifest: found again, not copied twice.
    (root / "data" / "MANIFEST.json").unlink()
    assert (await add_dataset(root, source))["path"] == entry["path"]
    assert len(list((root / "data").glob("*.csv"))) == 2


async def test_a_large_dataset_stays_out_of_the_commits(tmp_path: Path) -> None:
    root = tmp_path / "study"
    root.mkdir()
    await write_skeleton(root, study())
    source = tmp_path / "big.parquet"
    with source.open("wb") as file:
        file.truncate((10 << 20) + 1)
    entry = await add_dataset(root, source)
    assert (entry["included"], entry["rows"]) == (False, None)
    assert "/data/big.parquet" in (root / ".gitignore").read_text().splitlines()
    await write_results(root, study(), VERDICT)
    assert "put in place first (see `data/MANIFEST.json`): `data/big.parquet`" in (root / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing.csv", None, "not_found"),
        ("empty.csv", b"", "bad_message"),
        ("notes.exe", b"x", "bad_message"),
        ("link.csv", "link", "bad_message"),
        ("pipe.csv", "pipe", "bad_message"),
        ("folder.csv", "folder", "bad_message"),
        ("huge.csv", "huge", "too_large"),
    ],
)
async def test_what_is_no_data_file_is_refused_in_words(tmp_path: Path, name: str, content: Any, code: str) -> None:
    root, source = tmp_path / "study", tmp_path / name
    root.mkdir()
    if content == "link":
        (tmp_path / "real.csv").write_text("a\n1\n")
        source.symlink_to(tmp_path / "real.csv")
    elif content == "pipe":
        os.mkfifo(source)
    elif content == "folder":
        source.mkdir()
    elif content == "huge":
        with source.open("wb") as file:
            file.truncate((2 << 30) + 1)
    elif content is not None:
        source.write_bytes(content)
    with pytest.raises(PostdocError) as caught:
        await add_dataset(root, source)
    assert caught.value.code == code
    assert name in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert caught.value.next
    assert [path.name for path in (root / "data").glob("*")] == []


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", b'a,b\n"open'])
async def test_a_file_that_is_no_clean_table_is_still_taken(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "odd.csv"
    source.write_bytes(content)
    root = tmp_path / "study"
    root.mkdir()
    entry = await add_dataset(root, source)
    assert (root / entry["path"]).read_bytes() == content
