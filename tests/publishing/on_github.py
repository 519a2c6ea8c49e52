"""A session whose work is on emulate, as a publish run leaves it: repository, branch, no pull request."""

from __future__ import annotations

from typing import Any

import msgspec

from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import Publication, PublishedBranch, PublishedRepository
from jupyterlab_postdoc.store.base import PublicationRow, SessionRow
from tests.forge.emulated import Emulated

BRANCH = "agent/owls/0a1b2c3d"


def write(emulated: Emulated, path: str, repo: str = "ana/owls") -> str:
    """A commit on the branch; its sha."""
    body = {"message": path, "content": "eA==", "branch": BRANCH}
    return str(emulated.request("PUT", f"/repos/{repo}/contents/{path}", body)["commit"]["sha"])


async def on_github(
    emulated: Emulated, log: EventLog, session: str, *, owner: str, look_at: float, name: str = "owls"
) -> str:
    """Make repository, branch, session (when there is none) and row; the sha of the branch."""
    repo = f"ana/{name}"
    made = emulated.post("/user/repos", {"name": name, "private": False, "auto_init": True})
    main = emulated.get(f"/repos/{repo}/git/ref/heads/main")["object"]["sha"]
    emulated.post(f"/repos/{repo}/git/refs", {"ref": f"refs/heads/{BRANCH}", "sha": main})
    commit, web = write(emulated, "notebook.py", repo), str(made["html_url"])
    event = Publication(
        state="published",
        repository=PublishedRepository(name=repo, url=web),
        branch=PublishedBranch(name=BRANCH, url=f"{web}/tree/b", commit=commit, compareUrl=f"{web}/compare"),
    )
    row = PublicationRow(
        session=session, owner=owner, host="127.0.0.1", state="published", body={"repository_id": made["id"]},
        shown=msgspec.to_builtins(event), look_at=look_at,
    )  # fmt: skip

    async def unit(tx: Any) -> None:
        if await tx.get_session(session) is None:
            await tx.insert_session(SessionRow(id=session, owner=owner))
        await tx.put_publication(row)

    await log.write(unit)
    return commit
