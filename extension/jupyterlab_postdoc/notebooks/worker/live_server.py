"""The live worker's requests: the same as the batch worker's (server.py), carried out in the open notebook."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.notebooks.worker import author, live_marimo
from jupyterlab_postdoc.notebooks.worker.author import Refused
from jupyterlab_postdoc.notebooks.worker.check import check
from jupyterlab_postdoc.notebooks.worker.live_book import Book
from jupyterlab_postdoc.notebooks.worker.live_kernel import Kernel
from jupyterlab_postdoc.notebooks.worker.live_run import LiveRun, outdated, stopped
from jupyterlab_postdoc.notebooks.worker.server import LINE, Page, Server, described, digest
from jupyterlab_postdoc.notebooks.worker.tracks import Emit

FULL = (errno.ENOSPC, errno.EDQUOT)


def serve(receive: int, send: int, door: tuple[int, int], notebook: Path) -> None:
    """Until stdin ends or ``shutdown`` comes."""

    started = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        server = LiveServer(receive, send, notebook)
        task = asyncio.create_task(server.live(app, started))
        yield
        task.cancel()

    live_marimo.run(door, notebook.parent, lifespan, started.set)


class LiveServer(Server):
    """Owns the open notebook; runs in marimo's event loop."""

    def __init__(self, receive: int, send: int, notebook: Path) -> None:
        super().__init__(receive, send)
        self.path = notebook
        self.why = ""
        self.book: Book | None = None
        self.kernel: Kernel | None = None
        self.editing, self.executing = asyncio.Lock(), asyncio.Lock()
        self.running: dict[int, LiveRun] = {}
        self.waiting: dict[int, asyncio.Event] = {}  # runs that were asked for, until their turn; set: they are stopped
        self.tasks: set[asyncio.Task[None]] = set()

    async def live(self, app: Any, started: asyncio.Event) -> None:
        """Find out whether marimo can be driven, open the notebook, answer until stdin ends."""
        manager = app.state.session_manager
        try:
            self.book = Book(live_marimo.bridge(app), self.path)
            self.kernel = Kernel(manager, self.book, self.tell)
        except LookupError as error:
            self.why = f"{error}; the page follows the file instead"
            manager.watch = True
        await started.wait()
        facts = {"marimo": live_marimo.VERSION, "port": live_marimo.PORT, "file": self.path.name}
        self.tell({"type": "ready", "host_api": not self.why, "why": self.why, **facts})
        self.start(self.opened(manager))
        try:
            await self.requests()
        finally:
            self.keep()
            os._exit(0)

    async def opened(self, manager: Any) -> None:
        """A kernel at once, since a page that only watches needs one."""
        if not self.path.exists():
            return
        if self.kernel is None:
            await live_marimo.follow(manager, self.path)
            return
        with suppress(Refused):
            await self.kernel.up()
            self.kernel.instantiate(run=False)

    async def requests(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self.receive, "rb", 0))
        while line := await reader.readline():
            request = json.loads(line)
            if request["op"] == "interrupt":
                self.interrupt(request.get("id"))
                continue
            if request["op"] == "run":
                self.waiting[request["id"]] = asyncio.Event()  # a stop may be in the next line
            self.start(self.answer(request))

    def start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def tell(self, event: dict[str, Any]) -> None:
        """Unasked."""
        self.write({"id": 0, "event": event})

    async def ready(self, request: dict[str, Any]) -> tuple[Book, Kernel]:
        """The open notebook. Refused when marimo cannot be driven, or the request is about another file."""
        if self.book is None or self.kernel is None:
            raise Refused("busy", f"The notebook cannot be driven: {self.why}.", "Work on the file.")
        if Path(request["path"]).absolute() != self.path:
            raise Refused("bad_message", f"This editor has {self.path.name!r} open.", "Use that notebook.")
        await self.book.load()
        return self.book, self.kernel

    async def do_create(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self.path.exists():
            author.create(self.path, request["title"], request.get("header", ""), request.get("width", "medium"))
        book, kernel = await self.ready(request)
        if kernel.session is None:
            self.start(self.opened(kernel.manager))
        return described(book.read())

    async def do_cells(self, request: dict[str, Any]) -> dict[str, Any]:
        book, kernel = await self.ready(request)
        async with self.editing:
            await book.refresh()
        return described(book.read()) | {"states": kernel.states()}

    async def do_edit(self, request: dict[str, Any]) -> dict[str, Any]:
        book, kernel = await self.ready(request)
        async with self.editing:
            await kernel.up()
            await book.refresh()
            with self.changing(book):
                made = await book.edit(request["changes"], request.get("known"))
        issues = await asyncio.to_thread(check, self.path, made.notebook, full=False)
        return {**described(made.notebook), "changed": made.changed, "deleted": made.deleted, "issues": issues}

    async def do_replace(self, request: dict[str, Any]) -> dict[str, Any]:
        book, kernel = await self.ready(request)
        async with self.editing:
            await kernel.up()
            before, names = book.read(), book.ids()
            problem: Refused | None = None
            try:
                with self.changing(book):
                    await book.replace(str(request["text"]), request.get("base"))
            except Refused as error:
                if "cells" not in error.details:
                    raise
                problem = error  # it stands in the open notebook all the same
            after = book.read()
            kernel.mark_stale(outdated(kernel, before, names, after))
            if problem is not None:
                raise problem
            return described(after)

    async def do_save(self, request: dict[str, Any]) -> dict[str, Any]:
        book, _ = await self.ready(request)
        async with self.editing:
            await book.refresh()
            return {"saved": self.save(book)}

    def save(self, book: Book) -> bool:
        """Whether there was anything to write. Refused, whatever fails; ``cells`` are those that the file lacks."""
        try:
            return book.save()
        except Exception as error:  # whatever it is, the text must not be taken for saved
            raise unsaved(book, error) from error

    @contextlib.contextmanager
    def changing(self, book: Book) -> Iterator[None]:
        """For a change of the open notebook that is saved at once. Refused as by ``save`` when only that fails."""
        before = book.host.document.etag
        try:
            yield
        except Refused:
            raise
        except Exception as error:
            if not isinstance(error, OSError) and book.host.document.etag == before:
                raise  # nothing was changed
            raise unsaved(book, error, "The change was made in the open notebook, but not in its file. ") from error

    async def do_check(self, request: dict[str, Any]) -> dict[str, Any]:
        book, _ = await self.ready(request)
        async with self.editing:
            await book.refresh()
            self.save(book)  # the check reads the file's lines
        notebook = author.load(self.path)
        return {**described(notebook), "issues": await self.issues(self.path, notebook)}

    async def do_run(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self.run_cells(request)
        finally:
            self.waiting.pop(request["id"], None)

    async def run_cells(self, request: dict[str, Any]) -> dict[str, Any]:
        """The whole notebook, or some ``cells``."""
        book, kernel = await self.ready(request)
        names = request.get("cells")
        if request.get("args"):
            raise Refused("bad_message", "A live notebook takes no command line arguments.", "Run it by itself.")

        def emit(event: dict[str, Any]) -> None:
            self.write({"id": request["id"], "event": event})

        async with self.turn(request["id"], kernel, emit):
            page = Page(self.path.parent) if names is None else None
            see = page.see if page is not None else lambda *_: None
            run = LiveRun(kernel, float(request["timeout_s"]), emit, see)
            self.running[request["id"]] = run  # before anything is waited for: it can be stopped at any time
            try:
                async with self.editing:
                    await book.refresh()
                    self.save(book)
                began = time.monotonic()
                ready = bool(request.get("ready"))
                await (run.whole() if names is None else run.some([str(name) for name in names], ready=ready))
                return await self.reported(run, page, time.monotonic() - began)
            except BaseException:
                if page is not None:
                    await page.close()
                raise
            finally:
                self.running.pop(request["id"], None)

    @contextlib.asynccontextmanager
    async def turn(self, number: int, kernel: Kernel, emit: Emit) -> AsyncIterator[None]:
        """Holds ``executing`` when nothing runs any more that people or other runs have begun."""
        stop = self.waiting[number]
        try:
            while True:
                await kernel.turn(stop, lambda cell: emit({"waits": cell}))
                await self.executing.acquire()
                if stop.is_set() or kernel.free_of_people:
                    break
                self.executing.release()  # somebody has begun a cell meanwhile
        finally:
            del self.waiting[number]
        try:
            if stop.is_set():
                raise stopped()
            yield
        finally:
            self.executing.release()

    async def reported(self, run: LiveRun, page: Page | None, took: float) -> dict[str, Any]:
        assert self.book is not None
        old, self.page = self.page, page
        if old is not None:
            await old.close()
        made = run.drawings()
        self.drawings = made if page is not None else {**self.drawings, **made}
        drawn = {name: digest(items) for name, items in made.items()}
        if page is None:
            cells = [cell.state() for cell in run.cells.values()]
            return {"end": run.end, "detail": run.detail, "cells": cells, "executed_s": took, "drawn": drawn}
        notebook = self.book.read()
        run.kernel.outputs.written()
        return {**await self.artifacts(run, self.path, notebook, page), "executed_s": took, "drawn": drawn}

    def interrupt(self, number: int | None) -> None:
        """Ctrl-C for that run and no other; without a number for what runs, whoever started it. Nothing is answered."""
        if number is not None:
            if number in self.waiting:
                self.waiting[number].set()
            if number in self.running:
                self.running[number].interrupt()
            return
        for run in self.running.values():
            run.interrupt()
        if not self.running and self.kernel is not None and self.kernel.session is not None:
            self.kernel.session.try_interrupt()

    async def do_restart(self, request: dict[str, Any]) -> dict[str, Any]:
        book, kernel = await self.ready(request)
        for run in self.running.values():
            run.interrupt()
        async with self.executing:
            async with self.editing:
                await book.refresh()
                with suppress(Refused):  # the text is not in the kernel: it loses nothing by this
                    self.save(book)
            if kernel.session is None:
                await kernel.up()
            else:
                await kernel.renew()
            kernel.instantiate(run=False)
        return {}

    def keep(self) -> None:
        """Write what is not written yet, as far as that can be done: this process ends."""
        if self.book is not None and self.book.host is not None:
            with said():
                self.book.save()
        if self.kernel is not None and self.kernel.session is not None:
            with said():
                self.kernel.outputs.flush()

    async def do_shutdown(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer is the last word of this process. Refused when the notebook cannot be saved; with
        ``anyway`` it says what is ``lost``.
        """
        lost = ""
        try:
            if self.book is not None and self.book.host is not None:
                self.save(self.book)
        except Refused as error:
            if not request.get("anyway"):
                raise
            lost = error.message
        self.keep()
        if self.kernel is not None:
            with said():
                self.kernel.kill()
        self.write({"id": request["id"], "result": {"lost": lost}})
        os._exit(0)


@contextlib.contextmanager
def said() -> Iterator[None]:
    """What fails in here is said to stderr, and work goes on."""
    try:
        yield
    except Exception:  # noqa: BLE001  the end of the process: nothing may keep it from what is left to do
        traceback.print_exc()


def unsaved(book: Book, error: Exception, what: str = "") -> Refused:
    """The refusal that names the ``cells`` which are in the open notebook and not in its file."""
    try:
        names = book.unsaved()
    except Exception:  # noqa: BLE001  what cannot be written can perhaps not be compared either
        names = list(book.ids().values())
    what += f"Not saved: {', '.join(names[:20])}" if names else "The notebook was not saved"
    stays = "the text stays in the open notebook, which saves it again"
    if not isinstance(error, OSError):
        why = ": ".join(filter(None, (type(error).__name__, str(error)[:200])))
        return Refused("notebook_failed", f"{what} ({why}).", f"Simplify what was written last; {stays}.", cells=names)
    if error.errno in FULL:
        return Refused("storage_full", f"{what} ({error.strerror}).", f"Make room on the disk; {stays}.", cells=names)
    next = f"Make the file writable; {stays}."
    return Refused("notebook_failed", f"{what} ({error.strerror}).", next, cells=names)
