"""Where kernels come from: a fork server that has imported marimo and the notebook's libraries already.

marimo starts a kernel as a fresh Python, which then imports marimo (0.7 s) and, in the setup cell, numpy, pandas and
the rest (1.5 s). Here these imports are made once, while the agent still writes; every run forks a new kernel from
them. The fork server itself runs none of the notebook's code.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

SAFE = {  # libraries that may be imported before a fork: they start no threads then, or stop them properly around it
    "numpy": "numpy",
    "pandas": "pandas",
    "altair": "altair",
    "matplotlib": "matplotlib.pyplot",
    "pyarrow": "pyarrow",
}
KERNEL = ("marimo._runtime.runtime", "marimo._runtime.kernel_lifecycle", "marimo._output.formatters.formatters")
LIST = "POSTDOC_PRELOAD"
_started = False
_loaded: set[str] = set()


def start(modules: Iterable[str]) -> None:
    """Start the fork server, once, with those of ``modules`` that are safe; returns at once."""
    global _started
    if _started:
        return
    _started = True
    wanted = sorted(SAFE[name] for name in set(modules) & set(SAFE))
    _loaded.update(wanted)
    os.environ[LIST] = ",".join(wanted)
    _own_folder()
    multiprocessing.set_forkserver_preload([f"{__package__}.preload"])
    forkserver.ensure_running()


def again(modules: Iterable[str]) -> None:
    """The same for a new kernel whose notebook imports more by now: a new fork server. No kernel may run meanwhile,
    since the one before answers for those that it forked.
    """
    global _started
    wanted = {SAFE[name] for name in set(modules) & set(SAFE)}
    if wanted <= _loaded:
        return
    vars(forkserver)["_forkserver"]._stop()
    _started = False
    start(modules)


def _own_folder() -> None:
    """The fork server's socket goes into our private home: this process is killed in the end, and nobody would tidy up
    a folder in /tmp.
    """
    folder = Path(os.environ.get("HOME", "/")) / ".run" / str(os.getpid())
    if len(str(folder)) > 70:  # a socket's path has at most 107 characters
        return
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in folder.parent.iterdir():
            if not Path("/proc", old.name).exists() or old == folder:
                for listener in old.glob("listener-*"):
                    listener.unlink(missing_ok=True)
                if old != folder:
                    old.rmdir()
        config: dict[str, object] = vars(multiprocessing.current_process())["_config"]
        config["tempdir"] = str(folder)


def use() -> None:
    """From now on marimo's session starts its kernels here (it asks multiprocessing for "spawn")."""
    from marimo._session.managers import kernel

    context = multiprocessing.get_context("forkserver")
    kernel.get_context = lambda _method=None: context


def preload() -> None:
    """In the fork server: import what a kernel needs."""
    import gc
    import importlib

    for name in (*KERNEL, *filter(None, os.environ.pop(LIST, "").split(","))):
        with suppress(ImportError):
            importlib.import_module(name)
    os.register_at_fork(after_in_child=_fresh)
    gc.collect()
    gc.freeze()  # what is here now stays: no kernel looks through it again, and its memory stays shared


def _fresh() -> None:
    """Two kernels of one fork server must not draw the same unseeded random numbers."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
