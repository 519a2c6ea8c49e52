"""What a model is told: who it is, marimo's rules, how a study is made, and the task.

The texts are the files in ``texts/``. A line that begins with ``[name]`` is told only to an agent that has the tool of
this name. The system prompt of a session is the same at every turn, so that the provider can keep it in its cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources
from typing import Any

from jupyterlab_postdoc.agent.personas import Persona
from jupyterlab_postdoc.forge.text import json_text, one_line
from jupyterlab_postdoc.templates import Template, TemplateRegistry
from jupyterlab_postdoc.tools.base import ToolBox
from jupyterlab_postdoc.tools.project import Project

OURS = ("numpy", "pandas", "pyarrow", "openpyxl", "altair", "matplotlib", "marimo")
OTHERS = (
    "scipy",
    "statsmodels",
    "scikit-learn",
    "polars",
    "duckdb",
    "seaborn",
    "plotly",
    "networkx",
    "sympy",
    "xarray",
)
"""Named when they are installed; the check finds any other that is missing."""
_COMES = (
    "by itself, into an environment of this project: nothing is installed with pip. Prefer what is there, and import "
    "another package only when the study needs it."
)
MISSING = {
    "ask": f"When a cell imports another package, the researcher is asked, and if they agree it comes {_COMES}",
    "install": f"When a cell imports another package, it comes {_COMES}",
    "never": "Nothing can be installed; use these.",
}
"""What is said of packages that are not there, by the setting ``missing_packages``."""


def system_prompt(
    persona: Persona, *, base: str, project: Project | None, templates: TemplateRegistry, tools: ToolBox
) -> str:
    """The administrator's text, then the persona's, then what goes with the tools at hand."""
    names = frozenset(tools.names())
    parts = [base, persona.system_prompt, text("honesty", names), text("marimo", names)]
    if project is None:
        parts.append(text("no_project", names))
    elif "nb_edit" in names:
        about = text("work", names).replace("{packages}", packages())
        parts.append(about.replace("{missing}", MISSING[project.supply.policy if project.supply else "never"]))
        parts += [] if project.plain else [text("study", names)]
        parts += [text("repository", names)] if project.place else []
        parts.append(_place(project))
    else:
        parts += [text("reading", names), _place(project)]
    if names & {"list_templates", "use_template"}:
        parts.append(_templates(templates))
    return "\n\n".join(part for given in parts if (part := given.strip()))


def research_prompt(
    given: Mapping[str, Any], template: Template | None, templates: TemplateRegistry, *, continues: bool = False
) -> str:
    """The first message of a research run. ``template`` is the one that the user chose or that fits the topic.

    ``continues``: there is a notebook that the study goes on from.
    """
    parts = [f"Make a complete study of this topic, from the question to the verdict:\n\n{str(given['topic']).strip()}"]
    parameters = {name: value for name, value in (given.get("params") or {}).items() if value is not None}
    if parameters:
        parts.append(f"The user gave these parameters:\n\n{json_text(parameters).strip()}")
    if continues:
        parts.append(
            "There is a `notebook.py` already, made by somebody else or earlier: this study continues it. Read it "
            "first (`nb_cells`), run it, and say what it shows. Keep what serves the question, change what must "
            "change, and never begin anew with `use_template` or by deleting cells that you do not replace. At the end "
            "it must have the cells that a good study has, `verdict` among them."
        )
    elif template is not None:
        parts.append(
            f"For this topic the template `{template.name}` ({one_line(template.title)}) was chosen, by the user or "
            f'because its keywords fit. Begin with `use_template("{template.name}", …)` and the parameters that the '
            "topic needs, look whether its method answers the question as it was asked, and change what does not fit."
        )
    elif fitting := [found.name for found in templates.candidates(str(given["topic"]))]:
        parts.append(f"Several templates may fit: {', '.join(fitting)}. If one answers the question, begin with it.")
    else:
        parts.append("No template fits by its keywords. If one answers the question all the same, begin with it.")
    if limits := _limits(given.get("budget") or {}):
        parts.append(f"You have {limits}. Leave enough of it to run the notebook and to finish.")
    return "\n\n".join(parts)


@cache
def text(name: str, tools: frozenset[str]) -> str:
    """One of the texts, without the lines for tools that are not at hand."""
    raw = resources.files(__package__).joinpath("texts", f"{name}.md").read_text(encoding="utf-8")
    kept = []
    for line in raw.splitlines():
        tool, _, rest = line[1:].partition("] ") if line.startswith("[") else ("", "", line)
        if not tool or tool in tools:
            kept.append(rest)
    return "\n".join(kept)


@cache
def packages() -> str:
    """What a notebook may import here, with versions."""
    found = []
    for name in (*OURS, *OTHERS):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _place(project: Project) -> str:
    study = project.study
    if project.place:
        told = "" if project.plain else f" The study's topic, in the user's words: {one_line(study.topic, 500)}"
        described = "" if project.plain else f" The study is described in `{study.readme}`, which is written for you."
        return (
            "## This project\n\n"
            f"A work tree of the repository `{one_line(project.place, 200)}` on the branch `{project.branch}`, shown "
            f"to the user as `{project.public_root}`; paths given to tools are relative to it.{described}{told}"
        )
    return (
        "## This project\n\n"
        f"The repository `{study.repo_name}`, shown to the user as `{project.public_root}`; paths given to tools are "
        f"relative to it. Its topic, in the user's words: {one_line(study.topic, 500)}"
    )


def _templates(templates: TemplateRegistry) -> str:
    known = templates.list()
    if not known:
        return ""
    lines = [
        f"- `{template.name}`: {one_line(template.title)}. {one_line(template.summary, 400)}" for template in known
    ]
    return "\n".join(["## Templates", "", *lines])


def _limits(budget: Mapping[str, Any]) -> str:
    words = {"turns": "{:g} turns", "minutes": "{:g} minutes", "usd": "{:g} US dollars"}
    return ", ".join(form.format(budget[name]) for name, form in words.items() if budget.get(name))
