"""Who this process is, and whether another process of this host still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from jupyterlab_postdoc.protocol import new_id

from .rows import WorkerRow

_PROC = Path("/proc")


def host_key() -> str:
    """Names this machine since its last start, and the process-id space we live in (containers have their own)."""
    parts = [socket.gethostname()]
    try:
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(os.readlink(_PROC / "self/ns/pid"))
    except OSError:
        pass  # not Linux: the name alone
    return "/".join(parts)


def process_started(pid: int) -> str | None:
    """The start time of a process as the system counts it; "" when the system does not tell; None when it is gone."""
    if (_PROC / "self/stat").exists():
        try:
            fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    if os.name == "nt":
        return ""  # asking by signal would end the process there; leases decide
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def this_worker() -> WorkerRow:
    """A fresh worker row for this process."""
    pid = os.getpid()
    return WorkerRow(id=new_id("w"), host=host_key(), pid=pid, started=process_started(pid) or "")


def is_dead(worker: WorkerRow, host: str) -> bool:
    """True only when the worker surely does not run any more. Other hosts: unknown, so False."""
    if worker.host != host:
        return False
    started = process_started(worker.pid)
    return started is None or started != worker.started
