"""Postdoc: research agents in the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors; who uses it loads it by __getattr__
    from jupyterlab_postdoc.follow import Follow as Follow

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    from jupyterlab_postdoc.app import PostdocApp

    return [{"module": "jupyterlab_postdoc", "app": PostdocApp}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jupyterlab-postdoc"}]


def __getattr__(name: str) -> object:
    """``Follow``, the widget for notebook cells: loaded by who uses it, never by the server."""
    if name == "Follow":
        from jupyterlab_postdoc.follow import Follow

        return Follow
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
