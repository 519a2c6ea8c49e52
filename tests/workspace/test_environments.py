"""A project's own packages: from a folder of wheels by pip and by uv, seen in the sandbox, never built, never ours."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace import distributions
from jupyterlab_postdoc.workspace.environments import BEHIND, Environments, remove
from jupyterlab_postdoc.workspace.installed import Installed
from jupyterlab_postdoc.workspace.installer import Installer, requirement
from jupyterlab_postdoc.workspace.processes import Completed
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace

from .wheels import SECRETS, index, source, wheel

T = TypeVar("T")
HAS_UV = Installer(uv=True).uv is not None


def go(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Place:
    """A folder of wheels, the environments, and projects."""

    def __init__(self, folder: Path, uv: bool) -> None:
        self.folder, self.wheels = folder, folder / "wheels"
        self.environ = index(self.wheels, folder / "home")
        self.environments = Environments(folder / "environments", Installer(self.environ, uv=uv))

    def project(self, name: str = "owls") -> Path:
        root = self.folder / "research" / name
        root.mkdir(parents=True, exist_ok=True)
        return root

    def install(self, *wanted: str, project: str = "owls") -> dict[str, str]:
        """The packages that came."""
        return dict(go(self.environments.install(self.project(project), wanted)).added)

    def workspace(self, project: str = "owls") -> Workspace:
        box = choose(go(probe()), trusted=True, allow_unsandboxed=True)
        return Workspace(self.project(project), sandbox=box, find_python=self.environments.find)

    def run(self, code: str, project: str = "owls") -> Completed:
        workspace = self.workspace(project)
        return go(workspace.execute([str(workspace.python), "-P", "-c", code], timeout=60))

    def refused(self, *wanted: str) -> PostdocError:
        with pytest.raises(PostdocError) as caught:
            self.install(*wanted)
        assert not list(self.environments.folder.glob(".*")), "nothing is left of it"
        assert str(self.folder) not in caught.value.message
        return caught.value


@pytest.fixture(params=["pip", pytest.param("uv", marks=pytest.mark.skipif(not HAS_UV, reason="uv is not here"))])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """By pip and by uv: for what depends on how they work."""
    made = Place(tmp_path, request.param == "uv")
    assert made.environments.installer.name == request.param
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """By the quicker one of those that are here."""
    return Place(tmp_path, HAS_UV)


def test_without_an_installation_a_project_uses_this_python(place: Place) -> None:
    workspace = place.workspace()
    assert (workspace.python, workspace.readonly, workspace.environment) == (Path(sys.executable), (), None)
    assert workspace.env() == workspace.sandbox.env(workspace.root)


def test_its_own_packages_first_and_this_servers_behind(either: Place) -> None:
    wheel(
        either.wheels, "owl-calls", "2.5", requires=["owl-sounds>=1"], files={"owl_calls/__init__.py": "import numpy"}
    )
    wheel(either.wheels, "owl-sounds", "1.1")
    wheel(either.wheels, "owl-sounds", "0.9")
    assert either.install("Owl_Calls") == {"owl-calls": "2.5", "owl-sounds": "1.1"}
    done = either.run(
        "import sys, owl_calls, owl_sounds, marimo, numpy, jupyterlab_postdoc.notebooks.worker as worker, json;"
        "print(json.dumps([sys.prefix, owl_sounds.VERSION, owl_calls.__cached__, marimo.__version__, marimo.__file__]))"
    )
    assert done.returncode == 0, done.stdout
    prefix, version, compiled, marimo, where = json.loads(done.stdout)
    workspace = either.workspace()
    assert workspace.readonly == (Path(prefix),)
    assert Path(prefix).parent == either.environments.folder
    assert (version, Path(compiled).exists()) == ("1.1", True)
    assert marimo == importlib.metadata.version("marimo")
    assert not Path(where).is_relative_to(prefix)
    assert [path.name for path in either.project().iterdir()] in ([], [".git"]), "the repository holds nothing of it"


@pytest.mark.sandbox
def test_nothing_in_the_sandbox_can_change_it(place: Place) -> None:
    wheel(place.wheels, "owls")
    place.install("owls")
    if not place.workspace().sandbox.isolated:
        pytest.skip("there is no sandbox here")
    done = place.run("import owls, pathlib; pathlib.Path(owls.__file__).write_text('changed')")
    assert "Read-only file system" in done.stdout


def test_what_the_server_has_is_not_installed_again(either: Place) -> None:
    wheel(either.wheels, "owl-maths", requires=["numpy>=1.20", "msgspec"])
    assert either.install("owl-maths") == {"owl-maths": "1.0"}
    assert either.install("numpy", project="other") == {}
    assert either.workspace("other").environment is None


def test_a_second_package_comes_to_the_first_and_a_project_that_works_is_not_disturbed(place: Place) -> None:
    wheel(place.wheels, "owls")
    wheel(place.wheels, "bats", "3.0")
    place.install("owls")
    before = place.workspace().python
    assert place.install("bats") == {"bats": "3.0"}
    assert place.workspace().python != before
    assert before.exists()
    assert place.run("import owls, bats; print(owls.VERSION, bats.VERSION)").stdout == "1.0 3.0\n"


def test_another_version_of_the_same_package_takes_its_place(either: Place) -> None:
    wheel(either.wheels, "owls", "1.0")
    wheel(either.wheels, "owls", "2.0")
    assert either.install("owls<2") == {"owls": "1.0"}
    assert either.install("owls>=2") == {"owls": "2.0"}
    record = either.environments.record(either.project())
    assert record is not None
    assert record.wanted == ["owls>=2"]


def test_projects_with_the_same_packages_share_them_and_a_fork_gets_those_of_the_original(place: Place) -> None:
    wheel(place.wheels, "owls")
    place.install("owls")
    place.install("owls", project="second")
    assert place.workspace("second").python == place.workspace().python
    place.environments.adopt(place.project(), place.project("fork"))
    assert place.run("import owls; print(owls.VERSION)", "fork").stdout == "1.0\n"
    assert len([path for path in place.environments.folder.iterdir() if path.name != "projects"]) == 1


def test_what_belongs_to_no_project_is_removed(place: Place) -> None:
    wheel(place.wheels, "owls")
    wheel(place.wheels, "bats")
    place.install("owls")
    place.install("bats", project="gone")
    (place.environments.folder / ".work-of-a-crash").mkdir()
    shutil.rmtree(place.project("gone"))
    assert place.environments.tidy() == [], "another server may be at work on it"
    for path in place.environments.folder.iterdir():
        os.utime(path, (0, 0))
    aside = place.environments.tidy()
    assert len(aside) == 2
    remove(aside)
    left = sorted(path.name for path in place.environments.folder.iterdir())
    assert left == sorted(["projects", place.workspace().readonly[0].name])
    assert place.run("import owls").returncode == 0


def test_a_new_python_does_not_use_the_old_environment(place: Place) -> None:
    wheel(place.wheels, "owls")
    place.install("owls")
    path = next(place.environments.folder.glob("projects/*.json"))
    path.write_text(path.read_text().replace(sys.implementation.cache_tag, "cpython-39"))
    assert place.workspace().environment is None
    assert place.install("owls") == {"owls": "1.0"}
    assert place.workspace().environment is not None


# --- what is not installed ---


def test_nothing_is_built_from_source(either: Place) -> None:
    trace = either.folder / "trace"
    source(either.wheels, "owls", trace)
    error = either.refused("owls")
    assert error.code == "tool_failed"
    assert "no ready-made package (wheel) of owls" in error.message
    assert not trace.exists()


def test_a_package_that_there_is_not(either: Place) -> None:
    assert "no ready-made package (wheel) of bats" in either.refused("bats").message


def test_a_wheel_for_another_system_is_none(either: Place) -> None:
    wheel(either.wheels, "owls", tag="cp311-cp311-win_amd64")
    assert "no ready-made package (wheel) of owls" in either.refused("owls").message


def test_what_runs_the_notebook_stays_as_it_is(either: Place) -> None:
    wheel(either.wheels, "marimo", "0.1", files={"marimo.py": "raise SystemExit"})
    wheel(either.wheels, "owls", requires=["marimo<0.2"])
    for wanted in ("owls", "marimo<0.2"):
        error = either.refused(wanted)
        assert "cannot stand beside the packages that run the notebook" in error.message or "wheel" in error.message
    assert either.workspace().environment is None


def test_a_failure_leaves_the_project_as_it_was(place: Place) -> None:
    wheel(place.wheels, "owls")
    place.install("owls")
    place.refused("bats")
    record = place.environments.record(place.project())
    assert record is not None
    assert record.wanted == ["owls"]
    assert place.run("import owls").returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        "owls @ https://example.org/owls.whl",
        "git+https://example.org/owls",
        "--index-url=https://example.org",
        "-r /etc/passwd",
        "./owls",
        "/tmp/owls.whl",
        "owls\n--index-url https://example.org",
        "owls; python_version > '3'",
        "",
        "owls " + "x" * 300,
    ],
)
def test_only_names_and_versions_reach_an_installer(text: str) -> None:
    with pytest.raises(PostdocError, match="does not name a package") as caught:
        requirement(text)
    assert caught.value.code == "bad_message"


def test_names_are_written_as_an_index_has_them() -> None:
    assert requirement(" Scikit_Learn >= 1.4, <2 ") in ("scikit-learn<2,>=1.4", "scikit-learn>=1.4,<2")
    assert requirement("polars[Excel,pandas]==1.0") == "polars[Excel,pandas]==1.0"


# --- no code of a package runs outside of the sandbox ---


def test_no_code_of_a_package_runs_while_it_is_installed(either: Place) -> None:
    trace = either.folder / "trace"
    runs = f"import pathlib; pathlib.Path({str(trace)!r}).write_text('ran')\n"
    wheel(either.wheels, "owls", files={"owls.py": runs, "owls_start.pth": runs, "sitecustomize.py": runs})
    wheel(either.wheels, "bats")
    either.install("owls")
    either.install("bats")  # nor when more is installed beside it
    assert not trace.exists()


def test_the_installer_sees_the_way_to_the_index_and_no_secret() -> None:
    way = {
        "PIP_INDEX_URL": "https://user:word@example.org/simple",
        "UV_INDEX_HOUSE_PASSWORD": "word",
        "https_proxy": "http://proxy.example.org:3128",
        "SSL_CERT_FILE": "/etc/ssl/house.pem",
        "HOME": "/home/ana",
    }
    other = {"PYTHONPATH": "/tmp/evil", "LD_PRELOAD": "/tmp/evil.so", "PIP_TARGET": "/tmp", "JUPYTER_TOKEN": "canary"}
    seen = Installer({**way, **SECRETS, **other}).environment()
    assert way.items() <= seen.items()
    assert not {*SECRETS, *other} & set(seen)
    assert not any("canary" in value for value in seen.values())


def test_pip_is_asked_when_only_pip_knows_the_index_of_the_house(tmp_path: Path) -> None:
    if not HAS_UV:
        pytest.skip("uv is not here")
    plain = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"), "PIP_CONFIG_FILE": "/dev/null"}
    house = {"PIP_INDEX_URL": "https://packages.example.org/simple"}
    assert Installer({**plain, **house}).name == "pip"
    assert Installer({**plain, **house, "UV_DEFAULT_INDEX": house["PIP_INDEX_URL"]}).name == "uv"
    written = tmp_path / "pip.conf"
    written.write_text("[global]\nindex-url = https://packages.example.org/simple\n")
    assert Installer({**plain, "PIP_CONFIG_FILE": str(written)}).name == "pip"


# --- names ---


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("sklearn.linear_model", "scikit-learn"),
        ("cv2", "opencv-python-headless"),
        ("statsmodels.api", "statsmodels"),
        ("google.cloud.storage.client", "google-cloud-storage"),
        ("prophet", "prophet"),
        ("great_tables", "great-tables"),
    ],
)
def test_the_package_of_a_module(module: str, package: str) -> None:
    assert distributions.distribution(module) == package


def test_what_an_error_says_is_missing() -> None:
    missing = distributions.missing_module
    assert missing("ModuleNotFoundError", "No module named 'sklearn.svm'") == "sklearn.svm"
    assert missing("ModuleNotFoundError", "No module named 'tkinter'") is None, "it is Python's own"
    assert missing("ModuleNotFoundError", "No module named '_owls'") is None
    assert missing("ValueError", "No module named 'owls'") is None
    said = "Missing optional dependency 'openpyxl'.  Use pip or conda to install openpyxl."
    assert distributions.missing_distribution("ImportError", said) == "openpyxl"


def test_what_is_installed_is_seen_without_running_it(place: Place) -> None:
    wheel(place.wheels, "owl-calls", "2.5", requires=["bats"], files={"owl_calls/__init__.py": "raise SystemExit"})
    wheel(place.wheels, "bats")
    place.install("owl-calls")
    environment = place.workspace().environment
    assert environment is not None
    installed = Installed(environment.packages)
    assert installed.has_module("owl_calls.night")
    assert not installed.has_module("newts")
    assert installed.providers["owl_calls"] == ["owl-calls"]
    assert installed.closure(["owl-calls"]) == {"bats": "1.0", "owl-calls": "2.5"}
    assert installed.version("marimo") == importlib.metadata.version("marimo")
    assert (environment.packages / BEHIND).exists()
    assert Installed().version("owl-calls") is None


def test_what_a_changed_version_would_break_is_known() -> None:
    server = Installed()
    assert "pandas" in server.broken_by({"numpy": "1.0"})
    assert "pandas" not in server.broken_by({"numpy": "1.0", "pandas": "1.0"}), "it comes along"
    assert server.broken_by({"owls": "1.0"}) == set()


def test_the_commands_of_a_package_run_with_its_python(either: Place) -> None:
    files = {"owls.py": "import sys\ndef hoot():\n    print('hoot', sys.prefix)\n"}
    wheel(either.wheels, "owls", files=files, scripts={"hoot": "owls:hoot"})
    either.install("owls")
    workspace = either.workspace()
    assert go(workspace.execute("hoot")).stdout == f"hoot {workspace.readonly[0]}\n"
    assert go(workspace.execute("python -c 'import owls; print(owls.__name__)'")).stdout == "owls\n"
