"""Owns one program and all of its descendants. Run as a file: ``python -I -S -E supervisor.py FD OPTIONS -- argv…``;
stdlib only.

FD is a socket to the server. From it come ``t`` (SIGTERM to the program), ``i`` (SIGINT), ``k`` (end everything now).
Its end of file means that the server is gone, however it went: everything is killed. To it goes one JSON line when
the program has ended. On Linux this process is the "child subreaper", so that a daemon which detached itself (setsid,
double fork) still belongs to it. Elsewhere only the program's process group is reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PAGE = resource.getpagesize()
SCAN_S = 1.0  # how often memory and processes are counted
LOOK_S = 0.1  # how often a sudden rise in processes is looked for
SWEEP_S = 5.0  # longest time spent on killing what keeps forking


def prctl(option: int, value: int) -> None:
    """Best effort: without it the process group and the socket remain."""
    if not LINUX:
        return
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


class Tree:
    """All living descendants of this process."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def scan(self) -> tuple[list[int], int]:
        """Their pids and the sum of their resident memory in bytes."""
        if not LINUX:
            return [], 0
        parents: dict[int, list[tuple[int, int]]] = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", "rb") as file:
                        fields = file.read().rpartition(b")")[2].split()
                except OSError:
                    continue
                if fields[0] != b"Z":
                    parents.setdefault(int(fields[1]), []).append((int(name), int(fields[21]) * PAGE))
        found, memory, todo = [], 0, [os.getpid()]
        while todo:
            for pid, rss in parents.pop(todo.pop(), []):
                found.append(pid)
                memory += rss
                todo.append(pid)
        return found, memory

    def signal(self, number: int) -> None:
        """To the program and its process group."""
        for send in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                send(self.leader, number)

    def sweep(self) -> None:
        """Kill until nothing is left. Stops everything first, so that a fork bomb cannot outrun the list."""
        self.signal(signal.SIGKILL)
        end = time.monotonic() + SWEEP_S
        while time.monotonic() < end:
            reap()
            pids, _ = self.scan()
            if not pids:
                return
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in pids:
                    with contextlib.suppress(OSError):
                        os.kill(pid, number)
            time.sleep(0.002)


def reap() -> dict[int, int]:
    """Wait for every child that has ended: pid → wait status."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended


def start(argv: list[str], options: dict[str, int | None], control: int) -> int:
    """Fork and exec the program in a session of its own; returns its pid. Raises OSError when it cannot be started."""
    read, write = os.pipe()
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(control)
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != me:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            for number in (
                signal.SIGCHLD,
                signal.SIGTERM,
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGPIPE,
                signal.SIGXFSZ,
            ):
                signal.signal(number, signal.SIG_DFL)
            for name, kind in (
                ("memory", "RLIMIT_AS"),
                ("file", "RLIMIT_FSIZE"),
                ("files", "RLIMIT_NOFILE"),
                ("core", "RLIMIT_CORE"),
            ):
                value = options.get(name)
                if value is not None:
                    with contextlib.suppress(OSError, ValueError):
                        _, hard = resource.getrlimit(getattr(resource, kind))
                        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
                        resource.setrlimit(getattr(resource, kind), (most, most))
            os.execvpe(argv[0], argv, os.environ)
        except OSError as error:
            os.write(write, str(error.errno or 0).encode())
        finally:
            os._exit(127)
    os.close(write)
    problem = os.read(read, 16)
    os.close(read)
    if problem:
        os.waitpid(pid, 0)
        raise OSError(int(problem), os.strerror(int(problem)))
    return pid


def threads() -> int:
    """Threads on the whole machine: one cheap number that jumps when something forks without end."""
    if not LINUX:
        return 0
    try:
        with open("/proc/loadavg") as file:
            return int(file.read().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


class Supervisor:
    """Waits for the program's end, an order, the server's end, or a broken limit; whichever comes first ends
    everything.
    """

    def __init__(self, control: int, options: dict[str, int | None], pid: int, wake: int) -> None:
        self.control, self.pid, self.wake = control, pid, wake
        self.tree = Tree(pid)
        self.most_memory, self.most_processes = options.get("total"), options.get("processes")
        self.base, self.next_scan = threads(), time.monotonic() + SCAN_S

    def over(self) -> str | None:
        """The broken limit, if any."""
        now, many = time.monotonic(), threads() - self.base > (self.most_processes or 1 << 30)
        if now < self.next_scan and not many:
            return None
        self.next_scan = now + SCAN_S
        pids, memory = self.tree.scan()
        if self.most_processes and len(pids) > self.most_processes:
            return "processes"
        return "memory" if self.most_memory and memory > self.most_memory else None

    def orders(self) -> str | None:
        """Carry out what the server asks; "stopped" when all has to end."""
        try:
            data = os.read(self.control, 64)
        except BlockingIOError:
            return None
        except OSError:
            return "stopped"
        if not data or b"k" in data:
            return "stopped"
        for letter, number in ((b"t", signal.SIGTERM), (b"i", signal.SIGINT)):
            if letter in data:
                self.tree.signal(number)
        return None

    def wait(self) -> tuple[int, str]:
        """(wait status of the program, why it ended)."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(LOOK_S * 1000)}
            if self.wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)
                status = reap().get(self.pid)
                if status is not None:
                    return status, "exit"
            why = (self.orders() if self.control in ready else None) or self.over()
            if why:
                return signal.SIGKILL, why


def main() -> None:
    control, options, argv = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[4:]
    os.set_inheritable(control, False)
    os.set_blocking(control, False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, tell = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM):  # only the socket gives orders
        signal.signal(number, signal.SIG_IGN)
    try:
        pid = start(argv, options, control)
    except OSError as error:
        report(control, {"error": error.strerror, "errno": error.errno})
        os._exit(127)
    for fd in (0, 1, 2):  # the pipes belong to the program alone: their end of file must not wait for us
        with contextlib.suppress(OSError):
            os.close(fd)
    supervisor = Supervisor(control, options, pid, wake)
    status, why = supervisor.wait()
    supervisor.tree.sweep()
    code = os.waitstatus_to_exitcode(status) if why == "exit" else -signal.SIGKILL
    report(control, {"code": code, "end": why})
    os._exit(0)


def report(control: int, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        os.write(control, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
