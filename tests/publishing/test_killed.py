"""The server is killed (kill -9) at each step of a publication and started again: there is one of everything."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.agent.support import git, lean
from tests.forge.emulated import TOKEN, Hub
from tests.forge.faults import Action, Faults
from tests.ui.service import Jupyter, wait_for

HELD = Action(forward=True, wait_s=20.0)
"""Carried out; the answer does not come before the server is dead."""
MOMENTS = {
    "create": ("POST", r"^/user/repos$"),
    "topics": ("PUT", r"/topics$"),
    "pull_request": ("POST", r"/pulls$"),
    "told": ("GET", r"/pulls/\d+$"),
}
PUSHES = {"push": 1, "branch": 2}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Faults, Jupyter]]:
    home = tmp_path_factory.mktemp("killed")
    with Hub(home / "hub") as hub, Faults(hub.api_url) as faults:
        config = {"github_api_url": faults.url, "github_git_url": hub.git_url, "github_publish": "ask"}
        server = Jupyter(home / "jupyter", app="server", **config)
        lean(server.home / "data" / "postdoc" / "templates" / "lean")
        server.env["GITHUB_TOKEN"] = TOKEN
        server.start()
        try:
            yield hub, faults, server
        finally:
            server.stop()


def one_of_each(hub: Hub, server: Jupyter, chat: str, name: str) -> None:
    """After all: the repository, its two branches, the draft pull request; and the session says so."""
    wait_for(lambda: [e for e in server.events(chat, "result") if e["stop_reason"] == "published"], 60)
    made = [repo for repo in hub.repos() if repo.startswith(f"ana/{name}")]
    assert made == [f"ana/{name}"]
    (pull,) = hub.pulls(f"ana/{name}")
    assert pull["draft"]
    bare = hub.git.bare(f"ana/{name}")
    root = server.root / "research" / name
    branches = git(bare, "for-each-ref", "--format=%(refname:short)").split()
    assert len(branches) == 2
    assert branches[1] == "main"
    assert git(bare, "rev-parse", branches[0]) == git(root, "rev-parse", "HEAD")
    shown = server.events(chat, "publication")[-1]
    assert shown["state"] == "published"
    assert server.get(f"postdoc/api/chats/{chat}")["state"] == "finished"
    links = [event["artifact"] for event in server.events(chat, "artifact") if "url" in event]
    assert sorted(links) == ["branch", "compare", "pr", "repo"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", [*MOMENTS, *PUSHES])
def test_a_kill_at_any_step_makes_nothing_twice(world: tuple[Hub, Faults, Jupyter], moment: str) -> None:
    hub, faults, server = world
    name = f"killed-at-{moment.replace('_', '-')}"
    chat = server.research(name.replace("-", " "), template="lean")
    server.wait_state(chat, "finished")
    now, dead = threading.Event(), threading.Event()
    if moment in MOMENTS:
        faults.rule(*MOMENTS[moment], HELD)
        method, path = MOMENTS[moment]
        before = len(faults.asked(method, path))
        server.post(f"postdoc/api/chats/{chat}/publish")
        wait_for(lambda: len(faults.asked(method, path)) > before, 30)
    else:
        count = 0

        def pushed(repository: str) -> None:
            nonlocal count
            hub.mirror(repository)
            count += 1
            if count == PUSHES[moment]:
                now.set()
                dead.wait(20)

        hub.git.on_push = pushed
        server.post(f"postdoc/api/chats/{chat}/publish")
        assert now.wait(30)
    server.kill()
    dead.set()
    hub.git.on_push = hub.mirror
    server.start()
    one_of_each(hub, server, chat, name)
