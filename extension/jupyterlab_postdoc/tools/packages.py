"""Packages that a project's code imports and that are not there: the researcher is asked, then they are installed.

They come into the project's own environment, never into this server's. Until somebody has said yes (or the setting
says so for all), nobody asks the package index either: a name alone would be a message to the outside.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.base import EditResult, Issue, RunReport
from jupyterlab_postdoc.workspace.distributions import KNOWN, distribution, missing_distribution, missing_module
from jupyterlab_postdoc.workspace.environments import Environments, Installation
from jupyterlab_postdoc.workspace.installed import Installed
from jupyterlab_postdoc.workspace.installer import requirement

if TYPE_CHECKING:
    from jupyterlab_postdoc.tools.base import Ask, ToolContext
    from jupyterlab_postdoc.tools.project import Project

Policy = Literal["ask", "install", "never"]
Status = Callable[[str, float | None], Awaitable[None]]

INSTALL, DECLINE = "Install", "Do not install"
ROUNDS = 3
"""How often in one call a run may turn out to need more: a package shows what it imports only when it is there."""
NOT_INSTALLED = re.compile(r"imports '([\w.]+)', which is not installed here")
"""How the check says so (notebooks/worker/check.py)."""
ORDER = re.compile(r"(?:please\s+)?(?:pip\s+)?install\s+(.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Lack:
    """``package`` is not there: a distribution's name; ``module`` is what was imported, ``cell`` where."""

    package: str
    module: str = ""
    cell: str = ""


@dataclass(frozen=True)
class Supplied:
    """What became of it, in words for whoever works. ``helped``: something is there now that was not before."""

    helped: bool = False
    text: str = ""


@dataclass
class Supply:
    """How a project gets packages. ``declined`` are those that nobody asks for again."""

    environments: Environments
    policy: Policy = "ask"
    declined: set[str] = field(default_factory=set)

    async def provide(self, project: Project, lacking: Sequence[Lack], ask: Ask, status: Status) -> Supplied:
        """Install what is lacking, if it may be; the notebook's processes start anew then, at their next use. Raises
        storage_full.
        """
        lacking = [lack for lack in lacking if lack.package not in self.declined]
        packages = sorted({lack.package for lack in lacking})
        if not packages:
            return Supplied()
        if self.policy == "never":
            self.declined.update(packages)
            return Supplied(text=f"{_names(packages)}: not installed, and this server installs no packages. {WITHOUT}")
        wanted = packages
        if self.policy == "ask":
            answer = await ask(question(lacking), [INSTALL, DECLINE], f"packages-{'-'.join(packages)}")
            understood = understand(answer, packages)
            if understood is None:
                self.declined.update(packages)
                said = f" They say: {answer.strip()}" if answer.strip() != DECLINE else ""
                return Supplied(
                    text=f"The researcher does not want {_names(packages)} to be installed.{said} {WITHOUT}"
                )
            wanted = understood
        await status(f"Installing {_names(wanted)} for this project", None)
        try:
            done = await self.environments.install(project.root, wanted)
        except PostdocError as e:
            if e.code == "storage_full":
                raise
            return Supplied(text=f"{e.message} {e.next}".strip())
        await project.notebook.renew()
        return self._told(project, lacking, wanted, done)

    def _told(self, project: Project, lacking: Sequence[Lack], wanted: Sequence[str], done: Installation) -> Supplied:
        came = ", ".join(f"{name} {version}" for name, version in done.added.items())
        text = f"Installed for this project: {came}." if came else f"{_names(wanted)}: there already."
        installed = _installed(project)
        without = [lack for lack in lacking if lack.module and not installed.has_module(lack.module)]
        if without:
            self.declined.update(lack.package for lack in without)
            text += f" But {_names(sorted({lack.module for lack in without}))} is in none of these packages."
        return Supplied(len(without) < len(lacking), text)


WITHOUT = "Do without, and say in the study what that means for it."


def question(lacking: Sequence[Lack]) -> str:
    """What the researcher is asked: who wants what, and where it would come from and go to."""
    packages = sorted({lack.package for lack in lacking})
    one = len(packages) == 1
    imports = sorted({lack.module.partition(".")[0] for lack in lacking if lack.module})
    cells = sorted({lack.cell for lack in lacking if lack.cell})
    who = f"The cell{'s' * (len(cells) > 1)} {_names(cells)}" if cells else "The study"
    verb = "need" if len(cells) > 1 else "needs"
    as_modules = f" (for `import {', '.join(imports)}`)" if imports and imports != packages else ""
    return (
        f"{who} {verb} the package{'' if one else 's'} {_names(packages)}{as_modules}, which {'is' if one else 'are'} "
        "not installed. Install from the package index that this server's pip or uv is set up with, with what "
        f"{'it needs' if one else 'they need'}, into this project's own environment? Neither the server's packages nor "
        "other projects change. An open notebook is started again then; if you have taken it over, when you give it "
        "back. Another package or version: answer “install NAME==VERSION”."
    )


def understand(answer: str, packages: Sequence[str]) -> list[str] | None:
    """The requirements that an answer allows; None when it allows none."""
    said = answer.strip()
    if said.lower() in (INSTALL.lower(), "yes", "install it", "install them"):
        return list(packages)
    order = ORDER.fullmatch(said)
    if order is None:
        return None
    try:
        return [requirement(part) for part in re.split(r"[\s,]+", order[1].strip(" .`“”\"'")) if part]
    except PostdocError:
        return None


async def required(project: Project, names: Iterable[str], ask: Ask, status: Status) -> str:
    """What a template says that it needs (names of packages), installed if need be; a sentence, or nothing to say."""
    if project.supply is None:
        return ""
    installed = _installed(project)
    lacking = [
        Lack(distribution(name)) for name in names if not (installed.version(name) or installed.has_module(name))
    ]
    return (await project.supply.provide(project, lacking, ask, status)).text


def lacking_after_edit(project: Project, issues: Iterable[Issue]) -> list[Lack]:
    """What the check of the cells says that they miss."""
    if project.supply is None:
        return []
    found = ((issue.cell or "", said[1]) for issue in issues if (said := NOT_INSTALLED.search(issue.message)))
    return [Lack(distribution(module), module, cell) for cell, module in found if not _own(project, module)]


async def after_edit(ctx: ToolContext, result: EditResult) -> tuple[EditResult, str]:
    """After an edit whose cells import what is not there: install it, if it may be, and check again."""
    lacking = lacking_after_edit(ctx.project, result.issues)
    supplied = await _supplied(ctx, lacking)
    if not supplied.helped:
        return result, supplied.text
    again = await _header(ctx.project, lacking)
    return replace(result, issues=again.issues) if again is not None else result, supplied.text


async def after_run(
    ctx: ToolContext, report: RunReport, again: Callable[[], Awaitable[RunReport]]
) -> tuple[RunReport, str]:
    """After a run that failed for want of a package: install it, if it may be, and run again."""
    told = []
    for _ in range(ROUNDS):
        lacking = _lacking(ctx.project, report)
        supplied = await _supplied(ctx, lacking)
        if supplied.text:
            told.append(supplied.text)
        if not supplied.helped:
            break
        await _header(ctx.project, lacking)
        report = await again()
    return report, "\n".join(told)


async def after_code(ctx: ToolContext, name: str, message: str) -> Supplied:
    """After code in the session's kernel that raised this exception: if it was for want of a package, install it, if it
    may be. It is not run again: half of it may have been done, and the kernel is another one.
    """
    lack = _lack(ctx.project, _installed(ctx.project), name, message)
    return await _supplied(ctx, [lack] if lack is not None else [])


async def _supplied(ctx: ToolContext, lacking: Sequence[Lack]) -> Supplied:
    supply = ctx.project.supply
    if supply is None or not lacking:
        return Supplied()
    supplied = await supply.provide(ctx.project, lacking, ctx.ask, ctx.status)
    if supplied.helped and ctx.resources.kernels is not None:
        await ctx.resources.kernels.shutdown(ctx.session)  # the next one has the packages; it says that it is new
    return supplied


async def _header(project: Project, lacking: Sequence[Lack]) -> EditResult | None:
    """Write one of the cells as it is: that brings the notebook's list of packages (PEP 723) in step."""
    wanted = {lack.cell for lack in lacking}
    for cell in await project.notebook.cells(seen=False):
        if cell.name in wanted:
            return await project.notebook.edit([{"op": "put", "name": cell.name, "code": cell.code}])
    return None


def _lacking(project: Project, report: RunReport) -> list[Lack]:
    """What the failed cells of a run say that they miss."""
    found: list[Lack] = []
    installed = _installed(project)
    for cell in report.cells:
        lack = _lack(project, installed, cell.error.name, cell.error.message, cell.name) if cell.error else None
        found += [lack] if lack is not None else []
    return found


def _lack(project: Project, installed: Installed, name: str, message: str, cell: str = "") -> Lack | None:
    """What an exception says that is missing, if that is what it says."""
    if module := missing_module(name, message):
        part_of_ours = installed.has_module(module) and module not in KNOWN  # a wrong name inside of it
        return None if part_of_ours or _own(project, module) else Lack(distribution(module), module, cell)
    package = missing_distribution(name, message)
    return Lack(package, cell=cell) if package is not None and installed.version(package) is None else None


def _own(project: Project, module: str) -> bool:
    """Whether the project has a file or a folder of that name, so that no package of somebody else is meant."""
    top = module.partition(".")[0]
    return (project.root / f"{top}.py").exists() or (project.root / top).is_dir()


def _installed(project: Project) -> Installed:
    own = project.workspace.environment
    return Installed(own.packages if own is not None else None)


def _names(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
