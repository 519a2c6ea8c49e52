"""All tools, built in and from the entry point group ``jupyterlab_postdoc.tools``."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

from jupyterlab_postdoc.tools import data, files, git, notebook, python, search, shell, talk, templates
from jupyterlab_postdoc.tools.base import Tool, ToolBox

ENTRY_POINT_GROUP = "jupyterlab_postdoc.tools"
BUILT_IN: tuple[Tool, ...] = (
    talk.plan,
    files.read_file,
    files.write_file,
    files.edit_file,
    search.glob,
    search.grep,
    data.fetch_dataset,
    shell.shell,
    python.py_exec,
    templates.list_templates,
    templates.use_template,
    notebook.nb_create,
    notebook.nb_cells,
    notebook.nb_edit,
    notebook.nb_check,
    notebook.nb_run,
    git.git_commit,
    talk.delegate,
    talk.ask_user,
    talk.finish,
)

_log = logging.getLogger(__name__)


def all_tools() -> ToolBox:
    """The built-in tools, then those that installed packages offer; a broken package is logged and left out."""
    tools = list(BUILT_IN)
    names = {tool.name for tool in tools}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            tool = entry.load()
        except (ImportError, AttributeError) as e:
            _log.warning("The tool %s of %s cannot be loaded: %s", entry.name, entry.value, e)
            continue
        if not isinstance(tool, Tool) or tool.name in names:
            _log.warning("%s is not a tool, or its name is taken.", entry.value)
            continue
        tools.append(tool)
        names.add(tool.name)
    return ToolBox(tools)
