"""One account of GitHub: what it can do for us, each call in plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from jupyterlab_postdoc.forge import github_ask as ask
from jupyterlab_postdoc.forge import github_read as read
from jupyterlab_postdoc.forge.credentials import Credential
from jupyterlab_postdoc.forge.github_errors import Call, not_there
from jupyterlab_postdoc.forge.github_said import messages
from jupyterlab_postdoc.forge.remote import Account, Comment, Owner, Rate, Remote, RemoteForge
from jupyterlab_postdoc.protocol import Checks, PullRequest

if TYPE_CHECKING:
    from jupyterlab_postdoc.forge.github import GitHub
    from jupyterlab_postdoc.forge.github_line import Line

T = TypeVar("T")
MAX_TITLE = 256
MAX_BODY = 65536


class GitHubForge(RemoteForge):
    """See :class:`~jupyterlab_postdoc.forge.remote.RemoteForge`. Cheap: made for each use."""

    def __init__(self, hub: GitHub, credential: Credential) -> None:
        """``credential`` is whose account this is."""
        self.host = hub.host
        self.credential = credential
        self._hub = hub

    def __repr__(self) -> str:
        return f"GitHubForge({self.host!r}, {self.credential!r})"

    async def _call(self, call: Call, work: Callable[[Line], T]) -> T:
        return await self._hub.call(self.credential, call, work)

    # --- the account ---

    async def whoami(self) -> Account:
        """Asks GitHub each time: whether the token is good is what most callers want to know."""
        app = self.credential.source == "app"
        call = Call("read your account", about="account")
        found = await self._call(call, lambda line: ask.whoami(line, app=app, owner=self._hub.owner))
        (await self._hub.state(self.credential)).account = found
        return found

    async def _account(self) -> Account:
        return (await self._hub.state(self.credential)).account or await self.whoami()

    async def owners(self) -> list[Owner]:
        """The account first, then its organisations; an App: where it is installed."""
        account = await self._account()
        call = Call("list your organisations", ("Members: read",), "list of organisations")
        return await self._call(call, lambda line: ask.owners(line, account))

    async def rate(self) -> Rate | None:
        """As the last answer told; None before the first one."""
        return (await self._hub.state(self.credential)).rate

    # --- repositories ---

    async def get_repo(self, full_name: str) -> Remote | None:
        """A renamed one is found under its new name."""
        return await self._repo(f"/repos/{_path(full_name)}", full_name)

    async def get_repo_by_id(self, id: int) -> Remote | None:
        """Whatever its name is now."""
        return await self._repo(f"/repositories/{int(id)}", f"repository {id}")

    async def _repo(self, path: str, about: str) -> Remote | None:
        def work(line: Line) -> Remote | None:
            data = line.find(path)
            return None if data is None else read.remote(data, self._hub.address)

        return await self._call(Call("read repositories", about=about, repo=about), work)

    async def list_repos(self, query: str = "", *, limit: int = 50) -> list[Remote]:
        """Newest push first; what is archived cannot be pushed to."""
        account = await self._account()
        wanted = query.strip().lower()

        def work(line: Line) -> list[Remote]:
            found: list[Remote] = []
            for data in ask.repositories(line, account):
                repo = read.remote(data, self._hub.address)
                if wanted in repo.full_name.lower() and repo.may_push is not False and not repo.archived:
                    found.append(repo)
                    if len(found) >= limit and account.kind != "app":  # an App's come in no order
                        break
            return sorted(found, key=lambda repo: -(repo.pushed_at or repo.created_at))[:limit]

        return await self._call(Call("list repositories", about="list of repositories"), work)

    async def create_repo(self, owner: str, name: str, *, description: str, private: bool) -> Remote:
        """Empty: without a first commit, so that ours can be the first."""
        account = await self._account()
        mine = account.kind == "user" and owner.lower() == account.login.lower()
        path = "/user/repos" if mine else f"/orgs/{quote(owner, safe='')}/repos"
        body = {"name": name, "description": description, "private": private, "auto_init": False, "has_wiki": False}
        scope = "repo" if private else "public_repo"
        call = Call(
            f"create repositories in {owner}",
            (f"Administration: write (a classic token: the scope {scope})",),
            f"organisation {owner}",
            f"{owner}/{name}",
            write=True,
        )

        def work(line: Line) -> Remote:
            return read.remote(line.send("POST", path, body), self._hub.address)

        return await self._call(call, work)

    async def set_topics(self, full_name: str, topics: Sequence[str]) -> None:
        """In place of those that it has."""

        def work(line: Line) -> None:
            line.send("PUT", f"/repos/{_path(full_name)}/topics", {"names": list(topics)}, repo=full_name)

        await self._call(_write(full_name, "set topics of repositories", "Administration: write"), work)

    async def branch_tip(self, full_name: str, branch: str) -> str | None:
        """None also for an empty repository."""

        def work(line: Line) -> str | None:
            path = f"/repos/{_path(full_name)}/git/ref/heads/{quote(branch, safe='/')}"
            data = line.find(path, absent=frozenset({404, 409}))
            return None if data is None else str(data["object"]["sha"])

        return await self._call(Call("read branches", ("Contents: read",), full_name, full_name), work)

    # --- pull requests ---

    async def find_pulls(self, full_name: str, branch: str) -> list[PullRequest]:
        """Newest first."""

        def work(line: Line) -> list[PullRequest]:
            query = {"state": "all", "head": f"{full_name.partition('/')[0]}:{branch}"}
            query |= {"sort": "created", "direction": "desc"}
            listed = line.pages(f"/repos/{_path(full_name)}/pulls", query)
            found = [read.pull(data) for data in listed if read.is_own(data, branch)]
            return sorted(found, key=lambda pull: -pull.number)

        return await self._call(_reads(full_name), work)

    async def open_pull(
        self, full_name: str, *, base: str, head: str, title: str, body: str, draft: bool = True
    ) -> PullRequest:
        """Not a draft where the plan has none."""
        from_us = {"title": title[:MAX_TITLE], "body": body[:MAX_BODY], "base": base, "head": head}
        path = f"/repos/{_path(full_name)}/pulls"

        def work(line: Line) -> PullRequest:
            from github import GithubException

            try:
                data = line.send("POST", path, {**from_us, "draft": draft}, repo=full_name)
            except GithubException as exc:
                if not draft or exc.status != 422 or "draft" not in messages(exc.data).lower():
                    raise
                data = line.send("POST", path, {**from_us, "draft": False}, repo=full_name)
            return read.pull(data)

        return await self._call(_write(full_name, "open pull requests", "Pull requests: write"), work)

    async def update_pull(self, full_name: str, number: int, *, title: str, body: str, was: str) -> bool:
        """Only while its text is what :func:`~.github_read.text_digest` of the last one was: people edit it too."""
        path = f"/repos/{_path(full_name)}/pulls/{number}"

        def work(line: Line) -> bool:
            data = line.get(path)
            if read.text_digest(str(data.get("title") or ""), str(data.get("body") or "")) != was:
                return False
            line.send("PATCH", path, {"title": title[:MAX_TITLE], "body": body[:MAX_BODY]}, repo=full_name)
            return True

        return await self._call(_write(full_name, "change pull requests", "Pull requests: write"), work)

    async def pull(self, full_name: str, number: int) -> PullRequest:
        """Five requests; six when somebody has commented at the code."""

        def work(line: Line) -> PullRequest:
            path = f"/repos/{_path(full_name)}"
            data = line.get(f"{path}/pulls/{number}")
            reviews = list(line.pages(f"{path}/pulls/{number}/reviews"))
            said = sum(not comment.bot for comment in ask.comments(line, path, number, reviews, data))
            checks = ask.checks(line, path, str(data["head"]["sha"]), f"{data['html_url']}/checks")
            return read.pull(data, checks=checks, review=read.review(reviews), comments=said)

        return await self._call(_reads(full_name, f"pull request {number} in {full_name}"), work)

    async def checks(self, full_name: str, sha: str) -> Checks:
        """Check runs and commit statuses together."""

        def work(line: Line) -> Checks:
            page = f"{self._hub.address.pages}/{_path(full_name)}/commit/{sha}/checks"
            return ask.checks(line, f"/repos/{_path(full_name)}", sha, page)

        return await self._call(Call("read checks", ("Checks: read",), full_name, full_name), work)

    async def comments(self, full_name: str, number: int) -> list[Comment]:
        """Oldest first."""

        def work(line: Line) -> list[Comment]:
            path = f"/repos/{_path(full_name)}"
            found = ask.comments(line, path, number, line.pages(f"{path}/pulls/{number}/reviews"), None)
            return sorted(found, key=lambda comment: (comment.at, comment.id))

        return await self._call(_reads(full_name, f"pull request {number} in {full_name}"), work)

    async def add_comment(self, full_name: str, number: int, body: str) -> Comment:
        """Below the pull request, not at its code."""

        def work(line: Line) -> Comment:
            path = f"/repos/{_path(full_name)}/issues/{number}/comments"
            return read.comment(line.send("POST", path, {"body": body[:MAX_BODY]}, repo=full_name))

        return await self._call(_write(full_name, "comment on pull requests", "Pull requests: write"), work)


def _path(full_name: str) -> str:
    """``owner/name``, safe in an address."""
    owner, _, name = full_name.partition("/")
    if not owner or not name or "/" in name or {owner, name} & {".", ".."}:
        raise not_there(Call("read repositories", about=f"repository {full_name!r}"), "GitHub")
    return f"{quote(owner, safe='')}/{quote(name, safe='')}"


def _write(full_name: str, doing: str, needs: str) -> Call:
    return Call(doing, (needs,), full_name, full_name, write=True)


def _reads(full_name: str, about: str = "") -> Call:
    return Call("read pull requests", ("Pull requests: read",), about or full_name, full_name)
