"""What a secret looks like: keys and tokens that say by their form what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

OVERLAP = 8192
"""Bytes that two pieces of a long file share: the longest match that is not cut by looking piece by piece."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """``kind`` completes "looks like …". ``hints``: one of them is in every match; looking for them first is fast.

    A match in the middle of a word is none: long runs of letters in data and pictures hold everything.
    """

    kind: str
    hints: tuple[bytes, ...]
    form: bytes

    @property
    def regex(self) -> re.Pattern[bytes]:
        """The form, compiled when it is first looked for: a server that publishes nothing starts without."""
        return _compiled(self.form)


@cache
def _compiled(form: bytes) -> re.Pattern[bytes]:
    return re.compile(form)


def _pattern(kind: str, form: str, *hints: str) -> Pattern:
    return Pattern(kind, tuple(hint.encode() for hint in hints), form.encode())


PATTERNS = (
    _pattern("an Anthropic key", r"sk-ant-[A-Za-z0-9_-]{20,}", "sk-ant-"),
    _pattern("an OpenAI key", r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}", "sk-"),
    _pattern("an OpenAI key", r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}|sk-[A-Za-z0-9]{48}(?![A-Za-z0-9])", "sk-"),
    _pattern("an OpenRouter key", r"sk-or-v1-[0-9a-f]{40,}", "sk-or-"),
    _pattern("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _pattern("a GitHub token", r"github_pat_[A-Za-z0-9_]{30,}", "github_pat_"),
    _pattern("a GitLab token", r"gl(?:pat|dt|rt|ptt|soat|ft)-[A-Za-z0-9_-]{20,}", "glpat-", "gldt-", "glrt-",
             "glptt-", "glsoat-", "glft-"),
    _pattern("a Hugging Face token", r"hf_[A-Za-z0-9]{30,}", "hf_"),
    _pattern("a Slack token", r"xox[abeoprs]-(?:\d+-)?[A-Za-z0-9-]{20,}|xapp-\d-[A-Za-z0-9-]{20,}", "xox", "xapp-"),
    _pattern("a Slack web hook", r"https://hooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}", "hooks.slack.com"),
    _pattern("an AWS key id", r"A(?:KI|SI)A[A-Z0-9]{16}(?![A-Za-z0-9])", "AKIA", "ASIA"),
    _pattern(
        "an AWS secret key",
        r"(?:aws_secret_access_key|AWS_SECRET_ACCESS_KEY|SecretAccessKey)[\"']?\s{0,5}[=:]\s{0,5}[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
        "aws_secret_access_key",
        "AWS_SECRET_ACCESS_KEY",
        "SecretAccessKey",
    ),
    _pattern("a Google API key", r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])", "AIza"),
    _pattern("a Google client secret", r"GOCSPX-[A-Za-z0-9_-]{28}", "GOCSPX-"),
    _pattern("a Google access token", r"ya29\.[A-Za-z0-9_-]{40,}", "ya29."),
    _pattern("a Stripe key", r"(?:sk|rk)_live_[A-Za-z0-9]{20,}", "_live_"),
    _pattern("an npm token", r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])", "npm_"),
    _pattern("a PyPI token", r"pypi-AgE[A-Za-z0-9_-]{50,}", "pypi-AgE"),
    _pattern("an Azure storage key", r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2}", "AccountKey=",
             "SharedAccessKey="),
    _pattern("an Azure client secret", r"[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{34}", "8Q~"),
    _pattern("a SendGrid key", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", "SG."),
    _pattern("a Groq key", r"gsk_[A-Za-z0-9]{48,}", "gsk_"),
    _pattern("a Replicate token", r"r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])", "r8_"),
    _pattern("an xAI key", r"xai-[A-Za-z0-9]{70,}", "xai-"),
    _pattern("a Databricks token", r"dapi[0-9a-f]{32}(?![0-9a-f])", "dapi"),
    _pattern("a DigitalOcean token", r"do[opr]_v1_[0-9a-f]{64}", "_v1_"),
    _pattern("a Docker token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}", "dckr_"),
    _pattern("a Telegram bot token", r"\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])", ":AA"),
    _pattern("a Kaggle key", r"[\"']?key\\?[\"']\s{0,5}:\s{0,5}\\?[\"'][0-9a-f]{32}\\?[\"']", "key\"", "key'",
             "key\\\""),
    _pattern("a JSON Web Token", r"eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}", "eyJ"),
    # A header alone is what a text about keys has; a key goes on in base64, after a line end in whatever spelling.
    _pattern(
        "a private key",
        r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----[^-]{0,300}?[A-Za-z0-9+/=]{40}",
        "PRIVATE KEY",
    ),
    _pattern(
        "a password in an address",
        r"://[^\s/:@\"'`<>\\]{0,100}:[^\s/@\"'`<>{}$*\\\[\]()]{3,200}@[A-Za-z0-9\[][A-Za-z0-9.-]*",
        "://",
    ),
)  # fmt: skip

_WORD = {bytes([byte]) for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"}
_ADDRESS = "a password in an address"
_WORDS = {
    b"password", b"passwd", b"passphrase", b"pass", b"pwd", b"secret", b"token", b"key", b"user", b"username",
    b"your-password", b"your_password", b"yourpassword", b"mypassword", b"changeme", b"example", b"api_key", b"apikey",
    b"...", b"access_token", b"your_token", b"your-token", b"x-oauth-basic",
}  # fmt: skip
"""What a documentation writes in the place of a password."""


def find(data: bytes) -> Iterator[tuple[Pattern, int, bytes]]:
    """Each secret in ``data``: its pattern, where it begins, and what it is (never to be shown)."""
    for pattern in PATTERNS:
        if not any(hint in data for hint in pattern.hints):
            continue
        for match in pattern.regex.finditer(data):
            if pattern.kind == _ADDRESS:
                if _is_placeholder(match[0]):
                    continue
            elif match.start() and data[match.start() - 1 : match.start()] in _WORD:
                continue
            yield pattern, match.start(), match[0]


def _is_placeholder(address: bytes) -> bool:
    password = address.partition(b"://")[2].rpartition(b"@")[0].partition(b":")[2]
    return password.lower() in _WORDS or len(set(password.lower())) == 1
