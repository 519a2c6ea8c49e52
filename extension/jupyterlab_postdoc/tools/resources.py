"""What tools use that belongs to the server and not to one project: kernels, the way to the network."""

from __future__ import annotations

from dataclasses import dataclass

from jupyterlab_postdoc.templates import TemplateRegistry
from jupyterlab_postdoc.workspace.fetch import Fetcher
from jupyterlab_postdoc.workspace.kernels import KernelPool


@dataclass(frozen=True)
class Resources:
    """Each is None where the server does not offer it."""

    kernels: KernelPool | None = None
    fetch: Fetcher | None = None
    templates: TemplateRegistry | None = None
