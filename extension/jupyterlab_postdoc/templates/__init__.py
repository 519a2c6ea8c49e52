"""Research templates: find them, check them, and render their notebook's cells.

A template is a folder of data (`template.yaml`, `notebook.py`, `script.yaml`, `repairs/`); nothing of it is imported or
executed here. marimo, yaml and jsonschema are imported only when a template is read, never when the server starts.
"""

from __future__ import annotations

from jupyterlab_postdoc.templates.checks import check, warnings
from jupyterlab_postdoc.templates.model import Origin, Template
from jupyterlab_postdoc.templates.registry import TemplateRegistry
from jupyterlab_postdoc.templates.scaffold import scaffold
from jupyterlab_postdoc.templates.source import CellSource

__all__ = ["CellSource", "Origin", "Template", "TemplateRegistry", "check", "scaffold", "warnings"]
