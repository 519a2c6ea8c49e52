"""What a token needs to be able to do, what it is known to lack, and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from jupyterlab_postdoc.forge.remote import Account, Owner

Kind = Literal["classic", "fine-grained", "app"]
_WORKFLOW = "to push the workflow that executes the notebook again; without it the study is pushed without CI files"
FINE_GRAINED = (
    ("Metadata: read", "to find repositories; GitHub ticks it by itself"),
    ("Contents: read and write", "to push the study's branch"),
    ("Pull requests: read and write", "to open the draft pull request, and to read what reviewers say"),
    ("Administration: read and write", "to make the repository of a study and set its topics"),
    ("Workflows: read and write", _WORKFLOW),
    ("Checks: read", "to show whether the workflow passed (with Commit statuses: read and Actions: read)"),
)
"""Permissions of fine-grained tokens and of GitHub Apps, with what each is for."""
CLASSIC = (
    ("repo", "to make private repositories, push to them and open pull requests"),
    ("workflow", _WORKFLOW),
)
SOON_S = 7 * 86_400.0


def kind_of(token: str, account: Account) -> Kind:
    """GitHub's tokens say by their beginning what they are; of others the scopes tell."""
    if account.kind == "app" or token.startswith(("ghs_", "ghu_")):
        return "app"
    if token.startswith("github_pat_"):
        return "fine-grained"
    return "classic" if account.scopes is not None else "fine-grained"


def rights(account: Account, kind: Kind) -> list[dict[str, Any]]:
    """``[{"name", "ok", "needed"}]``; ``ok`` is None where GitHub does not tell what a token may do."""
    if kind != "classic" or account.scopes is None:
        return [{"name": name, "ok": None, "needed": needed} for name, needed in FINE_GRAINED]
    found = [{"name": name, "ok": not account.lacks(name), "needed": needed} for name, needed in CLASSIC]
    if account.lacks("repo") and not account.lacks("public_repo"):
        found.append({"name": "public_repo", "ok": True, "needed": "to publish in public repositories"})
    return found


def missing(
    account: Account, kind: Kind, owners: Sequence[Owner], *, owner: str, private: bool, now: float
) -> list[str]:
    """A sentence for each thing that will fail or be left out. ``owner`` and ``private`` are the server's settings."""
    said: list[str] = []
    if kind == "classic":
        if account.lacks("repo") and account.lacks("public_repo"):
            said.append("The token lacks 'repo': it can neither make repositories nor push. Add that scope.")
        elif account.lacks("repo"):
            what = (
                "new repositories are private here, so it cannot make them" if private else "private ones stay closed"
            )
            said.append(f"The token lacks 'repo' and may only use public repositories: {what}. Add that scope.")
        if account.lacks("workflow"):
            said.append(
                "The token lacks 'workflow': studies are pushed without CI files. Add the scope to include them."
            )
    wanted = owner or account.login
    chosen = next((one for one in owners if one.login.lower() == wanted.lower()), None)
    if owner and chosen is None and owners:
        said.append(
            f"The token does not reach {owner}, the owner of new repositories (PostdocApp.github_owner). Choose that "
            "owner when you make the token, or let it approve the token."
        )
    elif chosen is not None and chosen.may_create is False:
        said.append(f"The token may not create repositories in {chosen.login}. Needed: Administration: write.")
    if account.expires is not None and account.expires - now < SOON_S:
        days = max(0, int((account.expires - now) // 86_400))
        when = "today" if days == 0 else "tomorrow" if days == 1 else f"in {days} days"
        said.append(f"The token expires {when}. Make a new one and connect again.")
    return said
