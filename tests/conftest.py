"""Fixtures shared by all tests. ``async def`` tests run on pytest-jupyter's loop, so do these fixtures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.store.sqlite import SqliteStore
from tests.model_server import ModelServer

# A developer's own account is not what tests publish to. Those that want a GitHub start one.
for _name in ("GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GITHUB_API_URL"):
    os.environ.pop(_name, None)

pytest_plugins = ["pytest_jupyter", "pytest_jupyter.jupyter_server"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests begin first: one that begins last would keep one process busy and let the others wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def known_secrets() -> Iterator[None]:
    """What a test has registered as secret is none for the next one: texts would be held back and cut for it."""
    before = set(secrets._values)
    yield
    if secrets._values != before:
        secrets._values.clear()
        secrets._values.update(before)
        secrets._index()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the server keeps its data."""
    return tmp_path / "postdoc"


@pytest.fixture
def store(data_dir: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[SqliteStore]:
    """An open store, closed after the test."""
    store = SqliteStore(data_dir)
    jp_asyncio_loop.run_until_complete(store.open())
    yield store
    jp_asyncio_loop.run_until_complete(store.close())


@pytest.fixture
def log(data_dir: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[EventLog]:
    """A running log on its own store."""
    log = EventLog(SqliteStore(data_dir), poll_s=0.02)
    jp_asyncio_loop.run_until_complete(log.start())
    yield log
    jp_asyncio_loop.run_until_complete(log.stop())


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A process that speaks the Messages API and says what the test tells it."""
    with ModelServer() as server:
        yield server
