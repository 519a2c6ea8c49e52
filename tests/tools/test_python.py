"""py_exec: Python in a kernel of the session, as a model uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.tools.conftest import Recorder

from jupyterlab_postdoc.tools.base import ToolContext
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.python import py_exec
from jupyterlab_postdoc.tools.resources import Resources
from jupyterlab_postdoc.workspace.kernels import KernelPool

DRAW = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


@pytest.fixture
def context(project: Project, recorder: Recorder, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[ToolContext]:
    kernels = KernelPool()
    yield recorder.context(project, Resources(kernels=kernels), provider="anthropic")
    jp_asyncio_loop.run_until_complete(kernels.shutdown_all())


async def test_it_answers_with_output_value_and_pictures(context: ToolContext, recorder: Recorder) -> None:
    first = await py_exec.call(context, {"code": "x = 3\nprint('three')\nx"})
    assert (first.ok, first.content) == (True, "three\n3")
    assert recorder.output == "three\n3\n"
    drawn = await py_exec.call(context, {"code": DRAW})
    (picture,) = drawn.images
    assert recorder.blobs[picture.blob].startswith(b"\x89PNG")
    assert (await py_exec.call(context, {"code": "y = 1"})).content == "(no output)"


async def test_errors_timeouts_and_deaths_are_told_as_they_are(context: ToolContext) -> None:
    failed = await py_exec.call(context, {"code": "print('so far')\nint('x')"})
    assert not failed.ok
    assert failed.content.startswith("so far")
    assert "ValueError" in failed.content
    late = await py_exec.call(context, {"code": "while True: pass", "timeout_s": 0.5})
    assert "Interrupted after 0.5 s" in late.content
    dead = await py_exec.call(context, {"code": "import os; os._exit(1)"})
    assert "variables are gone" in dead.content
    assert "variables that were set are kept" in late.content
    again = await py_exec.call(context, {"code": "1"})
    assert again.data["new_kernel"]
    assert again.content.startswith("(The earlier kernel had ended")
    stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    gone = await py_exec.call(context, {"code": stubborn, "timeout_s": 0.5})
    assert "did not react" in gone.content
    assert "variables are gone" in gone.content


async def test_after_a_crash_it_is_not_run_again(context: ToolContext) -> None:
    assert py_exec.reconcile is not None
    outcome = await py_exec.reconcile(context, {"code": "1"})
    assert outcome is not None
    assert not outcome.ok
    assert "unknown" in outcome.content


async def test_without_kernels_it_says_so(project: Project, recorder: Recorder) -> None:
    outcome = await py_exec.call(recorder.context(project), {"code": "1"})
    assert not outcome.ok
    assert "no kernels" in outcome.content
    assert py_exec.title({"code": "import pandas\nx"}) == "Running Python: import pandas"
