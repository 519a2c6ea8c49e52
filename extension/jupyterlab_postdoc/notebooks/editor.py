"""One managed editor: the process worker/live.py in the sandbox, which is marimo's page and our worker at once.

It is revived once when it ends by itself. Its socket and its secret stay the same then, so that open pages find it
again; the variables of its kernel are lost, and its status says so.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks import messages
from jupyterlab_postdoc.notebooks.base import CellState
from jupyterlab_postdoc.notebooks.condition import Condition, Hear
from jupyterlab_postdoc.notebooks.door import Door
from jupyterlab_postdoc.notebooks.live import EditorState, EditorStatus, Upstream, unsaved
from jupyterlab_postdoc.notebooks.wire import ENV, LINE, OURS, Worker, WorkerDied
from jupyterlab_postdoc.workspace.processes import Limits
from jupyterlab_postdoc.workspace.workspace import Workspace

_log = logging.getLogger(__name__)
START_S = 40.0
CALL_S = 60.0
STOP_S = 8.0  # it saves and lets its kernel go
SILENT_S = 3.0  # the same for one that has already left a save without an answer
AGAIN_S = 0.5  # then it tries again to save what could not be saved
STEADY_S = 60.0  # an editor that ends again within this time is not revived
KERNEL_S = 15.0  # a page that only watches needs a kernel; without one for so long it is shown all the same
PORT = 2718  # a name in addresses: nothing listens there
SERVER = 256 << 20  # marimo's own web server
UP = ("ready", "following")
SAVES = ("save", "edit", "replace", "check", "run")  # requests that have written the notebook when they are answered
IMPORT = re.compile(r"^\s*(?:import|from)\s+([A-Za-z_]\w{0,60})", re.MULTILINE)
PERHAPS = "What was typed there last may be lost: open the notebook and look."
LOST = "Its variables are lost, and what was typed or computed in its last second may be."
AGAIN = "Open the notebook again; the file is as it was saved last."


class LiveEditor:
    """The editor of one notebook; made and ended by the pool (editors.py). ``folder`` is its own, for its socket."""

    def __init__(self, workspace: Workspace, path: str, folder: Path, *, memory_bytes: int) -> None:
        self.workspace, self.path, self.folder, self.memory_bytes = workspace, path, folder, memory_bytes
        self.root = workspace.root
        self.used = time.monotonic()
        """When somebody last needed it, by the monotonic clock."""
        self.revivals = 0
        self.silent = False
        """Whether it has left a save without an answer, and nothing was heard of it since."""
        self.outdated = False
        """Whether the project has got packages since it was started, which it cannot see."""
        self._token = secrets.token_urlsafe(32)
        self.condition = Condition(sandboxed=workspace.sandbox.isolated)
        self._worker: Worker | None = None
        self._ready: asyncio.Future[Mapping[str, Any]] | None = None
        self._began = 0.0
        self._stopping = False
        self._not_saved = ""
        self._watch: asyncio.Task[None] | None = None

    # --- what others see ---

    @property
    def status(self) -> EditorStatus:
        """How it is now."""
        return self.condition.status

    @property
    def up(self) -> bool:
        return self.condition.status.state in UP and self._worker is not None and self._worker.dead is None

    @property
    def upstream(self) -> Upstream:
        """Asking for it counts as use: the proxy does so for every request."""
        self.used = time.monotonic()
        return Upstream(self.folder / "s", PORT, self._token, self.path)

    @property
    def idle_s(self) -> float | None:
        """Seconds since somebody last needed it; None while somebody looks, asks, or something executes."""
        status, asked = self.condition.status, self._worker is not None and self._worker.requests > 0
        if status.state == "starting" or status.viewers or asked or self.condition.computing:
            return None
        return time.monotonic() - self.used

    def viewer(self, change: int) -> None:
        """A browser connection came (1) or went (-1)."""
        self.used = time.monotonic()
        self.condition.become(viewers=max(0, self.condition.status.viewers + change))

    def listen(self, hear: Hear) -> Callable[[], None]:
        """Events of the worker (kernel, changed, saved) and ``{"type": "state"}`` when the status changed. Returns what
        ends it. ``hear`` must not wait and not fail.
        """
        return self.condition.listen(hear)

    # --- what can be asked of it ---

    async def ask(
        self, op: str, on_event: messages.OnEvent | None = None, *, wait_s: float = CALL_S, **fields: Any
    ) -> dict[str, Any]:
        """One request of the worker. A cancelled or overlong run is interrupted, the editor lives on; a request that
        gets no answer at all ends the process, which is then revived. While a run waits for what people have started,
        ``wait_s`` does not count.

        Raises PostdocError as the worker tells it; WorkerDied.
        """
        worker = self._worker
        if worker is None or not self.up:
            raise self._not_up()
        self.used = time.monotonic()
        numbers: list[int] = []
        request = {"op": op, "path": str(self.root / self.path), **fields}
        loop, waits = asyncio.get_running_loop(), None

        async def hear(event: Mapping[str, Any]) -> None:
            nonlocal waits
            if "waits" in event:
                limit.reschedule(loop.time() + wait_s)
                if event["waits"] == waits:
                    return
                waits = event["waits"]
            if on_event is not None:
                await on_event(event)

        try:
            async with asyncio.timeout(wait_s) as limit:
                answer = await worker.ask(request, hear, on_number=numbers.append)
            self._heard(op)
            return answer
        except PostdocError as error:
            self._heard(op, error)
            raise
        except TimeoutError as error:
            await worker.stop()
            raise WorkerDied("timeout", f"no answer within {wait_s:g} s") from error
        except asyncio.CancelledError:
            if op == "run" and numbers:
                worker.say({"op": "interrupt", "id": numbers[0]})
            raise
        finally:
            self.used = time.monotonic()

    def _heard(self, op: str, error: PostdocError | None = None) -> None:
        """The status says which cells are not on disk, until they are."""
        self.silent = False
        if error is not None:
            if unsaved(error):
                self._not_saved = f"{error.message} {error.next}"
                self.condition.become(message=self._not_saved)
        elif op in SAVES:
            if self._not_saved and self.condition.status.message == self._not_saved:
                self.condition.become(message="")
            self._not_saved = ""

    async def _told(self, op: str, **fields: Any) -> dict[str, Any]:
        try:
            return await self.ask(op, **fields)
        except WorkerDied as died:
            raise died.as_error() from died

    async def cells(self) -> list[CellState]:
        """The cells as they stand in the page, also what is not saved yet."""
        return messages.cells(await self._told("cells"))

    async def save(self) -> bool:
        """Write to disk what people have typed; whether there was anything to write.

        PostdocError with the ``cells`` that are not on disk when it cannot be written (see ``live.unsaved``); the
        status says so, too, until a later save is done.
        """
        return bool((await self._told("save")).get("saved"))

    async def replace(self, text: str, *, base: str | None) -> None:
        """Make the notebook equal to this text of a notebook file, in the page and on disk.

        ``base``: the file's text after the ``save`` on which this was decided; None: whatever is there. PostdocError
        ``version_conflict`` when somebody has changed the notebook since; then nothing was replaced.
        """
        await self._told("replace", text=text, base=base)

    async def restart(self) -> None:
        """A new kernel: all variables are lost, the outputs on the page stay until they are made again."""
        await self._told("restart")

    async def interrupt(self) -> None:
        """Ctrl-C for whatever runs in the kernel."""
        if self._worker is not None:
            self.used = time.monotonic()
            self._worker.say({"op": "interrupt"})

    # --- start and end: by the pool ---

    async def start(self) -> None:
        """Start the process and wait until its page answers. PostdocError("notebook_failed"); then nothing is left."""
        if not (self.root / self.path).is_file():
            raise PostdocError(
                "not_found", f"There is no notebook {self.path!r}.", next="Let the agent write it first."
            )
        try:
            await asyncio.wait_for(self._launch(), START_S)
        except TimeoutError as error:
            await self._kill()
            raise self._failed(f"it was not ready after {START_S:g} s") from error
        except WorkerDied as died:
            await self._kill()
            raise self._failed(died.why) from died
        except BaseException:
            await self._kill()
            raise
        self._watch = asyncio.create_task(self._stay())

    async def stop(self, message: str = "", *, well: str = "") -> None:
        """Save, end the kernel and every process. Safe to call twice.

        The status is ``failed`` afterwards when something could not be saved, though tried again, or when it did not
        answer: it says what is, or may be, lost, and so does the server's log. ``well`` is said when all was saved.
        """
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
        worker, lost = self._worker, ""
        if worker is not None and worker.dead is None:
            lost = await self._say_goodbye(worker)
            if lost:
                _log.error("%s in %s was closed, and something is lost. %s", self.path, self.root.name, lost)
        await self._kill()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.condition.become(
            state="failed" if lost else "stopped",
            kernel="none",
            message=f"{message} {lost or well}".strip(),
            viewers=0,
            outputs_from=self._session_time(),
        )

    async def _say_goodbye(self, worker: Worker) -> str:
        """What could not be saved, or perhaps was not; empty when everything was."""
        lost: str | None = None
        try:
            async with asyncio.timeout(SILENT_S if self.silent else STOP_S):
                for anyway in (False, False, True):
                    request = {"op": "shutdown", "path": str(self.root / self.path), "anyway": anyway}
                    try:
                        answer = await worker.ask(request)
                    except PostdocError as error:
                        if anyway:
                            return f"It could not save: {error.message} {PERHAPS}"
                        await asyncio.sleep(AGAIN_S)  # perhaps there is room by then
                    else:
                        lost = messages.text(answer.get("lost"), 2_000)
                        break
                await worker.death.wait()
        except TimeoutError:
            return lost if lost is not None else f"It did not answer and was ended. {PERHAPS}"
        except WorkerDied as died:
            return f"It ended before it had saved ({died.why}). {PERHAPS}"
        return lost or ""

    async def _launch(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        python = str(self.workspace.python)
        argv = [python, "-P", "-m", "jupyterlab_postdoc.notebooks.worker.live", str(self.root / self.path)]
        env = {
            **ENV,
            "POSTDOC_KERNEL_MEMORY": str(self.memory_bytes),
            "POSTDOC_PRELOAD": await asyncio.to_thread(self._imports),
        }
        env |= {"MARIMO_ENABLE_HOST": "1"}
        limits = Limits(memory_bytes=None, total_bytes=self.memory_bytes + OURS + SERVER)
        self.outdated = False
        ready = self._ready = asyncio.get_running_loop().create_future()
        self._began = time.monotonic()
        outputs_from = self._session_time()
        door = Door(self.folder / "s", self._token)
        try:
            process = await self.workspace.spawn(
                argv, env={**env, **door.env}, limits=limits, line_limit=LINE, fds=door.fds
            )
        finally:
            door.close()

        def died(why: WorkerDied) -> None:
            if not ready.done():
                ready.set_exception(why)

        self._worker = Worker(process, self._hear, died)
        said = await ready
        follows = said.get("host_api") is False
        why = messages.text(said.get("why"), 500)
        state: EditorState = "following" if follows else "ready"
        if not follows:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.condition.kernel_there.wait(), KERNEL_S)
        self.condition.become(
            state=state,
            message=f"The agent works on the file, the page follows it: {why or 'no interface for it'}"
            if follows
            else "",
            outputs_from=outputs_from,
        )

    async def _stay(self) -> None:
        """Revive it when it ends by itself."""
        while True:
            worker = self._worker
            assert worker is not None
            await worker.death.wait()
            if self._stopping:
                return
            why = worker.dead.why if worker.dead is not None else "it ended"
            memory = worker.dead is not None and worker.dead.end == "memory"
            await worker.stop()
            said = f"it needed more than {self.memory_bytes / (1 << 30):g} GiB" if memory else why
            if time.monotonic() - self._began < STEADY_S and self.revivals:
                self._fail(f"The notebook's process ended again ({said}).")
                return
            self.revivals += 1
            self.condition.become(
                state="starting", kernel="none", message="The notebook is started again.", since=time.time()
            )
            try:
                await asyncio.wait_for(self._launch(), START_S)
            except (PostdocError, WorkerDied, TimeoutError, OSError) as error:
                await self._kill()
                self._fail(f"The notebook's process ended ({said}) and could not be started again ({error}).")
                return
            again = f"The notebook's process ended ({said}) and was started again. {LOST}"
            self.condition.passing = again
            self.condition.become(message=again)

    async def _kill(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    def _hear(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "ready" and self._ready is not None and not self._ready.done():
            self._ready.set_result(event)
        elif kind == "kernel":
            if self.condition.computing:
                self.used = time.monotonic()  # it was needed until now
            self.condition.kernel(event, self._session_time)
        self.condition.tell(event)

    def _fail(self, message: str) -> None:
        self.condition.become(state="failed", kernel="none", message=message)

    def _failed(self, why: str) -> PostdocError:
        error = PostdocError("notebook_failed", f"The live notebook did not start: {why}.", next=AGAIN, retryable=True)
        self._fail(error.message)
        return error

    def _not_up(self) -> PostdocError:
        why = self.condition.status.message or "It is being started."
        return PostdocError("notebook_failed", f"The live notebook is not there now. {why}", next=AGAIN, retryable=True)

    def _imports(self) -> str:
        """Packages that the file seems to import, for the process that kernels are forked from."""
        with suppress(OSError, UnicodeDecodeError):
            return ",".join(sorted(set(IMPORT.findall((self.root / self.path).read_text("utf-8")))))
        return ""

    def _session_time(self) -> float | None:
        """When the outputs were made that a page shows without a kernel."""
        path = self.root / self.path
        with suppress(OSError):
            return (path.parent / "__marimo__" / "session" / f"{path.name}.json").stat().st_mtime
        return None
