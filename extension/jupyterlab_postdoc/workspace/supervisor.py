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
REST_S = 10.0  # the same for a program that rests
RESTS = 3  # clock ticks that it may have used meanwhile: what wakes up now and then, and no more
LOOK_S = 0.1  # how often a sudden rise in processes is looked for
LOOK_CALM_S = 0.5
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


class Cage:
    """A control group that bounds the number of tasks, where this process may make one (root, or a delegated group).

    With it the kernel itself stops a fork bomb; without it only our own counting does, which a bomb can outrun a while.
    """

    def __init__(self, most: int | None) -> None:
        self.folder = self._make(most) if LINUX and most else None

    @staticmethod
    def _make(most: int) -> str | None:
        for parent in cgroups():
            clean(parent)
            folder = f"{parent}/postdoc-{os.getpid()}"
            try:
                os.mkdir(folder)
            except OSError:
                continue
            try:
                with open(f"{folder}/pids.max", "r+") as file:
                    file.write(str(most))
                return folder
            except OSError:
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        return None

    def enter(self) -> None:
        """Called by the child before it becomes the program."""
        if self.folder is not None:
            with contextlib.suppress(OSError), open(f"{self.folder}/cgroup.procs", "w") as file:
                file.write("0")

    def full(self) -> bool:
        """Whether the kernel has refused a new task."""
        if self.folder is None:
            return False
        try:
            with open(f"{self.folder}/pids.events") as file:
                return any(int(line.split()[1]) for line in file if line.startswith("max "))
        except (OSError, ValueError, IndexError):
            return False

    def remove(self) -> None:
        """When all of its tasks are gone; the last ones may take a moment to leave."""
        for _ in range(50):
            if self.folder is None:
                return
            try:
                os.rmdir(self.folder)
            except OSError:
                time.sleep(0.01)
            else:
                self.folder = None


def cgroups() -> list[str]:
    """Folders of this process's own control groups that can bound tasks, version 1 and 2."""
    found = []
    with contextlib.suppress(OSError, ValueError), open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if "pids" in controllers.split(","):
                found.append(f"/sys/fs/cgroup/pids{path.rstrip('/')}")
            elif not controllers:
                found.append(f"/sys/fs/cgroup{path.rstrip('/')}")
    return found


def clean(parent: str) -> None:
    """Remove the groups of supervisors that were killed before they could."""
    with contextlib.suppress(OSError):
        for name in os.listdir(parent):
            pid = name.removeprefix("postdoc-")
            if pid != name and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                with contextlib.suppress(OSError):
                    os.rmdir(f"{parent}/{name}")


def first_in_line() -> None:
    """Be scheduled before what is watched, where that is allowed: a fork bomb must not starve its own end."""
    if LINUX:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


class Tree:
    """All living descendants of this process."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def scan(self) -> tuple[list[int], int, bool]:
        """Their pids, the sum of their resident memory in bytes, and whether some have ended and are not yet reaped."""
        if not LINUX:
            return [], 0, False
        parents: dict[int, list[tuple[int, int, bool]]] = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", "rb") as file:
                        fields = file.read().rpartition(b")")[2].split()
                except OSError:
                    continue
                ended = fields[0] == b"Z"  # perhaps its first thread only: until the others end it keeps its children
                parents.setdefault(int(fields[1]), []).append((int(name), int(fields[21]) * PAGE, ended))
        found, memory, dead, todo = [], 0, False, [os.getpid()]
        while todo:
            for pid, rss, ended in parents.pop(todo.pop(), []):
                dead = dead or ended
                if not ended:
                    found.append(pid)
                    memory += rss
                todo.append(pid)
        return found, memory, dead

    def ticks(self, pids: list[int]) -> int | None:
        """The clock ticks that these processes have used; None when one of them is gone. Costs far less than a scan."""
        used = 0
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                return None
            used += int(fields[11]) + int(fields[12])
        return used

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
            pids, _, dead = self.scan()
            if not pids and not dead:
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


def start(argv: list[str], options: dict[str, int | None], control: int, cage: Cage) -> int:
    """Fork and exec the program in a session of its own; returns its pid. Raises OSError when it cannot be started."""
    read, write = os.pipe()
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(control)
            os.setsid()
            cage.enter()
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

    def __init__(self, control: int, options: dict[str, int | None], pid: int, wake: int, cage: Cage) -> None:
        self.control, self.pid, self.wake, self.cage = control, pid, wake, cage
        self.tree = Tree(pid)
        self.most_memory, self.most_processes = options.get("total"), options.get("processes")
        self.base, self.next_scan = threads(), time.monotonic() + SCAN_S
        self.pids: list[int] = []
        self.used, self.scanned, self.resting = 0, 0.0, False

    def over(self) -> str | None:
        """The broken limit, if any."""
        if self.cage.full():
            return "processes"
        now, many = time.monotonic(), threads() - self.base > (self.most_processes or 1 << 30)
        if now < self.next_scan and not many:
            return None
        self.next_scan = now + SCAN_S
        self.resting = not many and self.rests()
        if self.resting and now < self.scanned + REST_S:
            return None
        pids, memory, _ = self.tree.scan()
        self.pids, self.scanned, self.used = pids, now, self.tree.ticks(pids) or 0
        if self.most_processes and len(pids) > self.most_processes:
            return "processes"
        return "memory" if self.most_memory and memory > self.most_memory else None

    def rests(self) -> bool:
        """Whether the program has done next to nothing since the last scan, so that one would find the same."""
        used = self.tree.ticks(self.pids) if self.pids else None
        return used is not None and used - self.used <= RESTS

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
            calm = self.resting and self.cage.folder is not None  # the kernel itself would stop a sudden rise
            ready = {fd for fd, _ in poll.poll((LOOK_CALM_S if calm else LOOK_S) * 1000)}
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
    inherited: list[int] = options.pop("fds", [])
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
    cage = Cage(options.get("processes"))
    first_in_line()
    try:
        pid = start(argv, options, control, cage)
    except OSError as error:
        cage.remove()
        report(control, {"error": error.strerror, "errno": error.errno})
        os._exit(127)
    for fd in (0, 1, 2, *inherited):  # they belong to the program alone: their end of file must not wait for us
        with contextlib.suppress(OSError):
            os.close(fd)
    supervisor = Supervisor(control, options, pid, wake, cage)
    status, why = supervisor.wait()
    supervisor.tree.sweep()
    cage.remove()
    code = os.waitstatus_to_exitcode(status) if why == "exit" else -signal.SIGKILL
    report(control, {"code": code, "end": why})
    os._exit(0)


def report(control: int, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        os.write(control, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
