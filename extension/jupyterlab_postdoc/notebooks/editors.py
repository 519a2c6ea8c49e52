"""The editors of this server: at most one for each project folder, started on demand, ended when nobody needs them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.batch import MEMORY
from jupyterlab_postdoc.notebooks.editor import START_S, STOP_S, LiveEditor
from jupyterlab_postdoc.notebooks.live import EditorStatus, unsaved
from jupyterlab_postdoc.notebooks.run_folder import RunFolder
from jupyterlab_postdoc.workspace.workspace import Workspace

_log = logging.getLogger(__name__)
REMEMBERED = 500  # last words of editors that are gone
MakeWorkspace = Callable[[Path], Awaitable[Workspace]]


class EditorPool:
    """``make_workspace`` gives a project's workspace with its sandbox, or raises sandbox_missing.

    An editor is idle when nobody looks, nobody asks and nothing executes; after ``idle_s`` of that it is saved and
    ended. When ``most`` are there, the one that has been idle longest makes room.
    """

    def __init__(
        self,
        make_workspace: MakeWorkspace,
        *,
        memory_bytes: int = MEMORY,
        most: int = 20,
        idle_s: float = 1800.0,
        parallel: int = 0,
    ) -> None:
        self._make_workspace = make_workspace
        self.memory_bytes, self.most, self.idle_s = memory_bytes, most, idle_s
        self._starts = asyncio.Semaphore(parallel or max(1, os.cpu_count() or 1))
        self._editors: dict[Path, LiveEditor] = {}
        self._starting: dict[Path, asyncio.Task[LiveEditor]] = {}
        self._wanted: dict[Path, str] = {}
        """Which notebook is being started."""
        self._ending: dict[Path, asyncio.Task[None]] = {}
        self._last: OrderedDict[Path, EditorStatus] = OrderedDict()
        self.on_status: list[Callable[[Path, EditorStatus], None]] = []
        """Called with a project's folder when the status of its editor has changed; must neither wait nor fail."""
        self._home: RunFolder | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._closed = False

    # --- as others see it (live.Editors) ---

    def get(self, root: Path) -> LiveEditor | None:
        """The editor of this project when it is up (ready or following)."""
        editor = self._editors.get(root.resolve())
        return editor if editor is not None and editor.up else None

    def status(self, root: Path) -> EditorStatus:
        """How it is, also when there is none. Costs nothing and starts nothing."""
        root = root.resolve()
        editor = self._editors.get(root)
        if editor is not None:
            return editor.status
        if root in self._starting:
            return EditorStatus("starting", "The notebook is being started.")
        return self._last.get(root) or EditorStatus("stopped")

    def running(self) -> list[EditorStatus]:
        """Of all editors that there are."""
        return [editor.status for editor in self._editors.values()]

    async def open(self, root: Path, path: str = "notebook.py") -> LiveEditor:
        """The editor of this project, started when there is none; waits until it is up. Whoever goes away while it
        starts does not stop it.

        PostdocError: notebook_failed, sandbox_missing, capacity, not_found.
        """
        root = root.resolve()
        if (ending := self._ending.get(root)) is not None:
            await asyncio.wait({ending})
        if root not in self._starting:
            await self.settled(root, START_S)  # one that is being revived
        if (editor := self.get(root)) is not None and editor.path == path:
            return editor
        task = self._starting.get(root)
        if task is not None and self._wanted[root] != path:  # another notebook of the project is being started
            await asyncio.wait({task})
            return await self.open(root, path)
        if task is None:
            if self._closed:
                raise PostdocError("capacity", "The server is stopping.", next="Try again when it runs.")
            task = self._starting[root] = asyncio.create_task(self._open(root, path))
            self._wanted[root] = path
            task.add_done_callback(lambda done: self._started(root, done))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise  # whoever waits was cancelled, not the start
            raise PostdocError(
                "notebook_failed",
                "The notebook was closed while it was started.",
                next="Open it again.",
                retryable=True,
            ) from None

    async def close(self, root: Path, *, reason: str = "", anyway: bool = False) -> None:
        """Save, and end its processes; also one that is being started. PostdocError when what people typed there cannot
        be saved: it stays open then. With ``anyway`` the status and the server's log say afterwards what is lost.
        """
        root = root.resolve()
        if (task := self._starting.get(root)) is not None:
            task.cancel()
            await asyncio.wait({task})
        if not anyway:
            await self._save(root)
        await self._end(root, reason)

    async def renew(self, root: Path) -> None:
        """Start the process anew when there is one: its Python may be another one now.

        One that does not start again says so in its status; who asked works on without it.
        """
        editor = self._editors.get(root.resolve())
        if editor is not None:
            await self.close(root, reason="The notebook is started again with its new packages.")
            with suppress(PostdocError):
                await self.open(root, editor.path)

    async def settled(self, root: Path, seconds: float) -> None:
        """Wait, at most so long, until an editor that is being started (again) is up or has failed."""
        root = root.resolve()
        task, editor = self._starting.get(root), self._editors.get(root)
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)  # its end is told to those who opened it
        elif editor is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(editor.condition.settled.wait(), seconds)

    # --- the server's ---

    async def start(self) -> None:
        """Remove what a killed server left behind; from now on look for editors that nobody needs."""
        with suppress(OSError):  # no place for sockets: the first notebook that is opened says so
            await asyncio.to_thread(self._folder)
        self._tidying = asyncio.create_task(self._tidy())

    async def stop(self) -> None:
        """Save and end all of them."""
        self._closed = True
        if self._tidying is not None:
            self._tidying.cancel()
        roots = {*self._editors, *self._starting}
        await asyncio.gather(*(self.close(root, reason="The server was stopped.", anyway=True) for root in roots))
        if self._home is not None:
            await asyncio.to_thread(self._home.remove)
            self._home = None

    # --- inside ---

    async def _open(self, root: Path, path: str) -> LiveEditor:
        try:
            return await self._fresh(root, path)
        except PostdocError as error:
            self._remember(root, failed := EditorStatus("failed", error.message, since=time.time()))
            self._tell(root, failed)
            raise

    async def _fresh(self, root: Path, path: str) -> LiveEditor:
        if not root.is_dir():
            raise PostdocError("not_found", "The project's folder is gone.", next="Put it back, or start a new study.")
        await self._save(root)
        await self._end(root, "")  # one that has failed, or shows another notebook
        workspace = await self._make_workspace(root)
        full = workspace.resolve(path)
        try:
            home = await asyncio.to_thread(self._folder)
        except OSError as error:
            raise PostdocError(
                "notebook_failed",
                f"There is no place for the live notebook's socket: {error.strerror}.",
                next="Give this user a writable XDG_RUNTIME_DIR or TMPDIR.",
            ) from error
        async with self._starts:
            await self._room()
            name = hashlib.sha256(str(root).encode()).hexdigest()[:10] + secrets.token_hex(2)
            editor = LiveEditor(workspace, workspace.relative(full), home / name, memory_bytes=self.memory_bytes)
            self._editors[root] = editor
            editor.listen(lambda event: self._tell(root, editor.status) if event.get("type") == "state" else None)
            try:
                await editor.start()
            except BaseException:
                self._editors.pop(root, None)
                await asyncio.to_thread(shutil.rmtree, editor.folder, ignore_errors=True)
                raise
        return editor

    def _started(self, root: Path, task: asyncio.Task[LiveEditor]) -> None:
        if self._starting.get(root) is task:
            del self._starting[root], self._wanted[root]
        if not task.cancelled():
            task.exception()  # told to whoever waits; perhaps nobody does any more

    async def _room(self) -> None:
        """There is room for one more, or the one that has been idle longest goes."""
        while len(self._editors) >= self.most:
            idle = [(seconds, root) for root, e in self._editors.items() if (seconds := e.idle_s) is not None]
            for _, root in sorted(idle, reverse=True):
                if await self._let_go(root, "It was closed to make room for another notebook."):
                    break
            else:
                raise PostdocError(
                    "capacity",
                    f"All {self.most} live notebooks of this server are in use.",
                    next="Close one of them, or let the administrator raise PostdocApp.max_notebooks.",
                    retryable=True,
                )

    async def _let_go(self, root: Path, reason: str) -> bool:
        """End one that nobody needs, unless what people typed there cannot be saved; whether it was ended."""
        editor = self._editors.get(root)
        try:
            await self._save(root)
        except PostdocError:
            return False
        if editor is not None and editor.up and editor.idle_s is None:
            return False  # somebody came while it was saved
        await self._end(root, reason, well="Nothing was lost.")
        return True

    async def _save(self, root: Path) -> None:
        """What people typed is on disk, as far as the editor can be asked. PostdocError when it cannot be written.

        One that does not answer in time is not asked again here: whoever ends it says that something may be lost.
        """
        editor = self._editors.get(root)
        if editor is None or not editor.up:
            return
        try:
            async with asyncio.timeout(STOP_S):
                await editor.save()
        except TimeoutError:
            editor.silent = True
        except PostdocError as error:
            if unsaved(error):
                editor.used = time.monotonic()  # it is not asked again and again
                raise

    async def _end(self, root: Path, reason: str, *, well: str = "") -> None:
        if (ending := self._ending.get(root)) is not None:
            await asyncio.wait({ending})
            return
        editor = self._editors.pop(root, None)
        if editor is None:
            return
        self._remember(root, EditorStatus("stopped", reason, since=time.time()))  # the same, until it has an end
        task = self._ending[root] = asyncio.create_task(self._stop(root, editor, reason, well))
        try:
            await asyncio.shield(task)
        finally:
            task.add_done_callback(lambda _: self._ending.pop(root, None))

    async def _stop(self, root: Path, editor: LiveEditor, reason: str, well: str) -> None:
        await editor.stop(reason, well=well)
        self._remember(root, editor.status)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(min(15.0, max(0.05, self.idle_s / 5)))
            for root, editor in list(self._editors.items()):
                idle = editor.idle_s
                if idle is not None and idle >= self.idle_s:
                    minutes = f"{self.idle_s / 60:g} minutes"
                    try:
                        await self._let_go(root, f"It was closed after {minutes} without use.")
                    except Exception:  # noqa: BLE001  task boundary: the others must be looked after, too
                        _log.exception("The notebook of %s could not be closed", root.name)

    def _tell(self, root: Path, status: EditorStatus) -> None:
        for hear in self.on_status:
            hear(root, status)

    def _remember(self, root: Path, status: EditorStatus) -> None:
        self._last[root] = status
        self._last.move_to_end(root)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def _folder(self) -> Path:
        if self._home is None:
            self._home = RunFolder.make()
        return self._home.path
