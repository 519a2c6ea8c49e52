"""Packages made on the spot, in a folder that pip and uv take in place of an index."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SECRETS = {"ANTHROPIC_API_KEY": "sk-ant-canary", "GITHUB_TOKEN": "ghp_canary", "UV_PUBLISH_TOKEN": "pypi-canary"}


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    scripts: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """A wheel whose module of the same name knows its ``VERSION``. ``scripts``: command to ``module:function``."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    contents = {f"{module}.py": f"VERSION = {version!r}\n"} if files is None else dict(files)
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    if scripts:
        entries = "".join(f"{command} = {target}\n" for command, target in scripts.items())
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}"
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    made = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return made


def source(folder: Path, name: str, trace: Path, version: str = "1.0") -> Path:
    """A source distribution whose build would leave ``trace``."""
    folder.mkdir(parents=True, exist_ok=True)
    setup = f"import pathlib\npathlib.Path({str(trace)!r}).write_text('built')\nfrom setuptools import setup\nsetup()\n"
    made = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(made, "w:gz") as archive:
        for path, text in {
            "setup.py": setup,
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        }.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made


def index(folder: Path, home: Path) -> dict[str, str]:
    """The variables by which a user names this folder to pip and to uv, and no other place; a home without settings,
    and secrets that are none of an installer's business.
    """
    home.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}
    uv = {"UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_FIND_LINKS": str(folder), "UV_CACHE_DIR": str(home / "uv")}
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", **SECRETS, **pip, **uv}
