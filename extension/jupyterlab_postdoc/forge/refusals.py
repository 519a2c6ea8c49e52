"""What git and GitHub say when a transfer fails, as errors that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Collection

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.secrets import redact
from jupyterlab_postdoc.workspace.gitproc import GitResult, failed

_SAFE = "Your commits are safe locally."

_AUTH = re.compile(
    r"authentication failed|could not read (?:username|password)|terminal prompts disabled|invalid username or"
    r"|error: 401|bad credentials|password authentication is not supported|password authentication was removed",
    re.I,
)
_FORBIDDEN = re.compile(
    r"error: 403|write access to repository not granted|permission to \S+ denied|archived so it is read-only"
    r"|saml sso|resource not accessible",
    re.I,
)
_ABSENT = re.compile(r"repository not found|repository '[^']*' not found|error: 404|error: 410", re.I)
_NO_FILE_REMOTE = re.compile(r"does not appear to be a git repository", re.I)
_MOVED_AWAY = re.compile(r"error: 30[12378]|unable to update url base from redirection", re.I)
_CERTIFICATE = re.compile(r"certificate|ssl_error|gnutls_handshake|schannel|tls", re.I)
_NETWORK = re.compile(
    r"could not resolve|failed to connect|couldn't connect|connection (?:refused|reset|timed out)|timed out|timeout"
    r"|rpc failed|hung up|early eof|unexpected disconnect|empty reply|transfer closed|error: 5\d\d|operation too slow"
    r"|unable to access|curl \d+|proxy",
    re.I,
)
_WORKFLOW = re.compile(
    r"refusing to allow .{0,200}(?:workflow|\.github)|without [`'\"]?workflows?[`'\"]? (?:scope|perm)", re.I
)
_LARGE = re.compile(r"GH001|exceeds GitHub's file size limit", re.I)
_LARGE_FILE = re.compile(r"File (.+?) is ([\d.]+ [KMGT]?i?B); this (?:exceeds|is larger)", re.I)
_PROTECTED = re.compile(r"GH006|protected branch|changes must be made through a pull request", re.I)
_RULE = re.compile(r"GH013|rule violations|GH\d{3}", re.I)
_SECRET = re.compile(r"push protection|push cannot contain secrets", re.I)
_SECRET_KIND = re.compile(r"^\W*[—-]{2,} (\S.*?) [—-]{2,}\s*$", re.M)
_SECRET_PLACE = re.compile(r"^\s*path: (.+?)(?::(\d+))?\s*$", re.M)
_BEHIND = re.compile(
    r"non-fast-forward|fetch first|stale info|cannot lock ref|failed to update ref|incorrect old value|already exists"
    r"|remote ref updated since",
    re.I,
)
_NAME_IN_THE_WAY = re.compile(r"directory file conflict|directory/file conflict|'refs/heads/[^']+' exists", re.I)
_URL = re.compile(r"https://[^\s\"'<>]+")
_REMOTE = re.compile(r"^remote: ?(.*?)\s*$", re.M)
_REASON = re.compile(r"^(?:!\t[^\t]*\t| ! \[)\[?(?:remote )?rejected\]? ?.*?\((.+)\)\s*$", re.M)


def unreachable(host: str, why: str) -> PostdocError:
    """GitHub did not answer; whether a push arrived is not known, so the caller looks before it goes on."""
    return PostdocError(
        "github_unreachable",
        f"{host or 'The remote repository'} could not be reached ({why[:200]}). {_SAFE}",
        next="Look at the network, then publish again: it continues where it stopped.",
        retryable=True,
    )


def moved(branch: str, taken: Collection[str], *, said: str = "") -> PostdocError:
    """The remote branch has commits that ours does not have."""
    proposal = free_branch(branch, taken)
    return PostdocError(
        "push_rejected",
        f"Someone changed {branch} on the remote: nothing was overwritten. {_SAFE}",
        next=f"Pull and rebase, or push to {proposal}.",
        reason="moved",
        branch=branch,
        proposal=proposal,
        git=redact(said[:1000]),
    )


def in_the_way(branch: str, other: str, taken: Collection[str]) -> PostdocError:
    """git cannot have a branch `a` and a branch `a/b`."""
    flat = free_branch(branch.replace("/", "-"), taken)
    return PostdocError(
        "push_rejected",
        f"The remote has a branch {other!r}, and git allows no {branch!r} beside it. {_SAFE}",
        next=f"Push to {flat}, or rename that branch.",
        reason="other",
        branch=branch,
        proposal=flat,
    )


def free_branch(branch: str, taken: Collection[str]) -> str:
    """``<branch>-2``, or the next number that no branch has."""
    lowered = {name.lower() for name in taken}
    number = 2
    while f"{branch}-{number}".lower() in lowered:
        number += 1
    return f"{branch}-{number}"


def of_transfer(result: GitResult, *, host: str, verb: str, with_token: bool) -> PostdocError:
    """Why a remote could not be read, or was not even asked to take a push."""
    said = result.stderr
    place = host or "the remote repository"
    if _MOVED_AWAY.search(said):
        return PostdocError(
            "push_rejected",
            f"The repository's address answers with another address: it was renamed or moved. {_SAFE}",
            next="Publish again, so that its new address is looked up.",
            retryable=True,
            reason="other",
            redirected=True,
        )
    if _FORBIDDEN.search(said):
        return _forbidden(said, place)
    if _ABSENT.search(said) or _NO_FILE_REMOTE.search(said):
        return PostdocError(
            "github_forbidden",
            f"The repository was not found at {place}, or the token may not see it. {_SAFE}",
            next="Look whether it was deleted or renamed, and whether the token may read and write its contents.",
            git=redact(said[:500]),
        )
    if _AUTH.search(said):
        return PostdocError(
            "github_auth",
            "GitHub refused the token (expired or revoked). Reconnect; your commits are safe locally."
            if with_token
            else f"{place} wants a token, and there is none. Connect GitHub; your commits are safe locally.",
            next="Connect GitHub again, then publish: it continues where it stopped.",
        )
    if "error: 429" in said:
        return PostdocError(
            "github_rate_limited",
            f"GitHub's limit is used up. {_SAFE}",
            next="Publish again in some minutes.",
            retryable=True,
        )
    if "no space left" in said.lower() or "disk quota" in said.lower() or "read-only file system" in said.lower():
        return failed(["git", verb], result)
    if _NETWORK.search(said) or result.returncode < 0:
        if _CERTIFICATE.search(said):
            return PostdocError(
                "github_unreachable",
                f"The certificate of {place} could not be checked. No token was sent. {_SAFE}",
                next="Name the certificate authority of your network in SSL_CERT_FILE or GIT_SSL_CAINFO.",
                git=redact(said[:500]),
            )
        return unreachable(host, _first(said))
    return failed(["git", verb], result)


def of_push(result: GitResult, *, host: str, branch: str, taken: Collection[str], with_token: bool) -> PostdocError:
    """Why the remote did not take a push."""
    text = "\n".join([*_REMOTE.findall(result.stderr), *_REASON.findall(result.stdout.decode("utf-8", "replace"))])
    said = f"{text}\n{result.stdout.decode('utf-8', 'replace')}"
    shown = redact(text.strip()[:2000])
    if _WORKFLOW.search(said):
        return PostdocError(
            "push_rejected",
            f"Token lacks 'workflow': GitHub did not take .github/workflows. {_SAFE}",
            next="Publish without the CI files, or give the token the workflow scope (fine-grained: Workflows write).",
            reason="workflow_scope",
            branch=branch,
            git=shown,
        )
    if _LARGE.search(said):
        found = _LARGE_FILE.search(said)
        path, size = (found[1], found[2]) if found else ("", "")
        return PostdocError(
            "push_rejected",
            f"{path or 'A file'} is {size or 'too large'}; GitHub refuses > 100 MB. {_SAFE}",
            next="Leave it to the data manifest, and send one commit in place of the history.",
            reason="large_file",
            branch=branch,
            path=path,
            git=shown,
        )
    if _SECRET.search(said):
        return _secret(said, branch, shown)
    if _PROTECTED.search(said) or _RULE.search(said):
        return PostdocError(
            "push_rejected",
            f"The branch {branch} is protected: {_rule(text)} {_SAFE}",
            next="Open a draft pull request from another branch, or ask whoever looks after the repository.",
            reason="protected" if _PROTECTED.search(said) else "rule",
            branch=branch,
            url=_url(text),
            proposal=free_branch(branch, taken),
            git=shown,
        )
    if _NAME_IN_THE_WAY.search(f"{said}\n{result.stderr}"):
        return in_the_way(branch, _other(f"{said}\n{result.stderr}", branch), taken)
    if _BEHIND.search(said):
        return moved(branch, taken, said=text)
    if "[remote rejected]" in said:
        return PostdocError(
            "push_rejected",
            f"The remote did not take the push: {_first(redact(text)) or 'it gave no reason'}. {_SAFE}",
            next="Ask whoever looks after the repository, or push to another branch.",
            reason="other",
            branch=branch,
            proposal=free_branch(branch, taken),
            git=shown,
        )
    return of_transfer(result, host=host, verb="push", with_token=with_token)


def _forbidden(said: str, place: str) -> PostdocError:
    if re.search("archived", said, re.I):
        return PostdocError(
            "github_forbidden",
            f"The repository is archived at {place}: it can only be read. {_SAFE}",
            next="Unarchive it, or publish to another repository.",
        )
    if re.search("saml sso", said, re.I):
        return PostdocError(
            "github_forbidden",
            f"The organisation wants the token to be authorised for its single sign-on. {_SAFE}",
            next="Authorise the token at the page that GitHub names, then publish again.",
            url=_url(said),
        )
    return PostdocError(
        "github_forbidden",
        f"The token may not write to this repository. Needed: Contents: write. {_SAFE}",
        next="Give the token that right (a classic one: repo), or publish to a repository of your own.",
        git=redact(said[:500]),
    )


def _secret(said: str, branch: str, shown: str) -> PostdocError:
    kinds = [kind for kind in _SECRET_KIND.findall(said) if not kind.isupper()]
    found = _SECRET_PLACE.search(said)
    path, line = (found[1], int(found[2]) if found[2] else None) if found else ("", None)
    where = f" in {path}" + (f" line {line}" if line else "") if path else ""
    return PostdocError(
        "push_rejected",
        f"GitHub stopped the push: it sees a secret ({redact(kinds[0]) if kinds else 'unknown kind'}){where}. {_SAFE}",
        next="Remove it, then send one commit in place of the history; a secret that was real must be revoked.",
        reason="rule",
        branch=branch,
        secret=True,
        path=path,
        line=line,
        url=next((url for url in _URL.findall(said) if "unblock-secret" in url), _url(said)),
        git=shown,
    )


def _rule(text: str) -> str:
    """The sentence in which GitHub names the rule."""
    listed = re.search(r"^\s*- (\S.*)$", text, re.M)
    if listed:
        return _sentence(listed[1])
    lines = [line.removeprefix("error: ") for line in text.splitlines() if line.strip()]
    named = [line for line in lines if not re.match(r"GH\d{3}:|Review all|\[|https?:", line)]
    return _sentence(redact((named or lines or ["it takes no push"])[0]))


def _sentence(text: str) -> str:
    short = text.strip()[:300]
    return short if short.endswith((".", "!", "?")) else f"{short}."


def _url(text: str) -> str:
    found = _URL.search(text)
    return found[0].rstrip(".,;)") if found else ""


def _other(said: str, branch: str) -> str:
    found = re.search(r"'refs/heads/([^']+)' exists", said)
    return found[1] if found else branch.split("/")[0]


def _first(said: str) -> str:
    """The line that says most, without git's decoration."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    chosen = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
    return redact(re.sub(r"^(?:fatal|error): ", "", chosen))
