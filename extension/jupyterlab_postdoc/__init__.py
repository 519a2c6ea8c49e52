"""Postdoc: research agents in the notebook."""

from __future__ import annotations

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    from jupyterlab_postdoc.app import PostdocApp

    return [{"module": "jupyterlab_postdoc", "app": PostdocApp}]
