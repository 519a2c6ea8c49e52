"""`jupyter postdoc templates`: list and show come from the server; check and new work without one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .client import Rest
from .output import dump, rows
from .problems import DONE, FAILED, Problem, usage
from .screen import Screen
from .server import Source
from .text import clean, one_line

Frame = dict[str, Any]


async def listed(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """`templates list` and `templates show NAME`."""
    if args.action == "show" and not args.name:
        raise usage("`templates show` needs the name of a template.", "jupyter postdoc templates lists them.")
    await source.get()
    found = await Rest(source)("GET", "api/templates")
    if args.action == "list":
        if args.json:
            dump(screen, found)
        else:
            lines = [[t["name"], one_line(t.get("summary") or t.get("title"))] for t in found]
            rows(screen, ["TEMPLATE", "WHAT IT DOES"], lines)
            screen.line()
            screen.line("jupyter postdoc templates show NAME tells the parameters of one.", "dim")
        return DONE
    template = next((t for t in found if t["name"] == args.name), None)
    if template is None:
        names = ", ".join(t["name"] for t in found)
        raise usage(f"There is no research template {args.name!r}.", f"There are: {names}.")
    if args.json:
        dump(screen, template)
    else:
        _show(screen, template)
    return DONE


def _show(screen: Screen, template: Frame) -> None:
    screen.line(f"{one_line(template['name'])}: {one_line(template.get('title'))}", "bold")
    screen.line(clean(template.get("summary") or ""))
    if template.get("topics"):
        screen.line(f"Chosen for topics such as: {', '.join(map(one_line, template['topics']))}")
    schema: dict[str, Any] = template.get("parameters") or {}
    properties: dict[str, Any] = schema.get("properties", schema)
    screen.line()
    screen.line("Parameters (--param NAME=VALUE)", "bold")
    for name, about in properties.items():
        default = f" (default: {about['default']})" if about.get("default") not in {None, ""} else ""
        text = one_line(f"{name}: {about.get('description') or about.get('title')}{default}")
        screen.line(f"- {text}", indent="  ")
    if template.get("references"):
        screen.line()
        screen.line("References", "bold")
        for reference in template["references"]:
            where = reference.get("url") or (f"https://doi.org/{reference['doi']}" if reference.get("doi") else "")
            screen.line(f"- {one_line(reference.get('text'))} {one_line(where)}", indent="  ")


def check(args: argparse.Namespace, screen: Screen) -> int:
    """`templates check FOLDER`: what is wrong with a template of one's own, and what could be better."""
    from jupyterlab_postdoc.templates import check as check_template
    from jupyterlab_postdoc.templates import warnings

    folder = Path(args.name or ".")
    if not folder.is_dir():
        raise usage(f"There is no folder {folder}.", "Name the folder that holds template.yaml.")
    problems = check_template(folder)
    advice = warnings(folder)
    if args.json:
        dump(screen, {"problems": problems, "warnings": advice})
    elif problems:
        screen.line(f"{folder}: {len(problems)} thing{'s' if len(problems) > 1 else ''} to mend", "bold")
        for problem in problems:
            screen.line(f"- {problem}", indent="  ")
    else:
        screen.line(f"{folder}: a template in good order.", "green")
        for warning in advice:
            screen.line(f"- Warning: {warning}", "yellow", indent="  ")
    return FAILED if problems else DONE


def new(args: argparse.Namespace, screen: Screen) -> int:
    """`templates new FOLDER`: a complete template to begin from."""
    from jupyterlab_postdoc.errors import PostdocError
    from jupyterlab_postdoc.templates import scaffold

    if not args.name:
        raise usage("`templates new` needs the folder to make.", "jupyter postdoc templates new my_study")
    folder = Path(args.name)
    title = args.title or folder.name.replace("_", " ").replace("-", " ").strip().capitalize()
    try:
        files = scaffold(folder, folder.name, title)
    except PostdocError as error:
        raise usage(error.message, error.next) from error
    except OSError as error:
        raise Problem(f"The folder {folder} cannot be written: {error.strerror}.") from error
    if args.json:
        dump(screen, [str(file) for file in files])
        return DONE
    screen.line(f"Made {folder} with {', '.join(file.name for file in files)}.", "green")
    screen.line(f"- Try it: python {folder / 'notebook.py'}", indent="  ")
    screen.line(f"- Check it: jupyter postdoc templates check {folder}", indent="  ")
    place = "below postdoc/templates/ in a Jupyter data path (jupyter --paths lists them)"
    screen.line(f"- Use it: put the folder {place}", indent="  ")
    return DONE
