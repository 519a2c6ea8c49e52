"""How git gets a token without anybody else seeing it: it asks a script of ours, which answers one host only.

The token waits in a pipe that git's processes inherit, and is gone from it as soon as it is read: it is never in a
file, an argument or the environment, and nothing is left of it when this server is killed. The script holds no
secret and stays on the disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets as random
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

USER = "x-access-token"
"""The name that GitHub wants with a token in place of a password."""

# The prompts are compared as a whole: a name like github.com.evil.example, or github.com as the user name of another
# host, is not the address that was meant.
SCRIPT = f"""\
#!/bin/sh
case "$1" in
"Username for '$POSTDOC_ASKPASS_SCHEME://$POSTDOC_ASKPASS_HOST': ")
    echo {USER} ;;
"Password for '$POSTDOC_ASKPASS_SCHEME://{USER}@$POSTDOC_ASKPASS_HOST': ")
    IFS= read -r token < "/dev/fd/$POSTDOC_ASKPASS_FD" && printf '%s\\n' "$token" ;;
*)
    exit 1 ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a call of git needs to be able to ask: additions to its environment, and descriptors to inherit."""

    env: dict[str, str]
    pass_fds: tuple[int, ...]


@contextlib.contextmanager
def offered(folder: Path, url: str, token: str | None) -> Iterator[Offer]:
    """Have ``token`` answered to the host of ``url``, once, until the block ends. None: nothing is answered.

    ``folder`` holds the script. Raises ValueError for a token that cannot be one (it has a line end, or is huge).
    """
    if token is None:
        yield Offer({}, ())
        return
    data = token.encode() + b"\n"
    # A pipe takes 4 KiB at once everywhere, so writing never waits for a reader.
    if not token.isprintable() or len(data) > 4096:
        raise ValueError("not a token")
    at = urlsplit(url)
    script = _script(folder)
    reader, writer = os.pipe()
    try:
        try:
            os.write(writer, data)
        finally:
            os.close(writer)
        yield Offer(
            {
                "GIT_ASKPASS": str(script),
                "POSTDOC_ASKPASS_SCHEME": at.scheme,
                "POSTDOC_ASKPASS_HOST": at.netloc,
                "POSTDOC_ASKPASS_FD": str(reader),
            },
            (reader,),
        )
    finally:
        os.close(reader)


def _script(folder: Path) -> Path:
    """The script, as it must be: somebody else's change to it does not outlive a call."""
    path = folder / "askpass"
    with contextlib.suppress(OSError):
        info = path.lstat()
        if stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o700 and path.read_text() == SCRIPT:
            return path
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f".askpass-{random.token_hex(8)}"
    # Renamed into its place: a script that is still open for writing cannot be started.
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "w") as file:
        file.write(SCRIPT)
    fresh.chmod(0o700)
    fresh.replace(path)
    return path
