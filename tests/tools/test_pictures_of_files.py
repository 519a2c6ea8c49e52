"""read_file of pictures: the model sees them; what only calls itself a picture is refused."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from tests.tools.conftest import Recorder

from jupyterlab_postdoc.tools.base import ToolContext
from jupyterlab_postdoc.tools.files import PICTURE_BYTES, read_file


def png(width: int, height: int, extra: int = 0) -> bytes:
    """A grey PNG; ``extra`` bytes of text make it heavier."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = zlib.compress(b"\0" * (width + 1) * height)
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", pixels)
        + chunk(b"tEXt", b"a\0" + b"x" * extra)
        + chunk(b"IEND", b"")
    )


def jpeg(width: int, height: int) -> bytes:
    from PIL import Image

    made = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(made, "JPEG", comment="x" * 500)
    return made.getvalue()


@pytest.mark.parametrize(("name", "media_type"), [("a.png", "image/png"), ("b.JPG", "image/jpeg")])
async def test_a_picture_is_shown_as_it_is(
    context: ToolContext, recorder: Recorder, name: str, media_type: str
) -> None:
    data = (png if name.endswith("png") else jpeg)(30, 20)
    context.project.workspace.write_bytes(f"figures/{name}", data)
    outcome = await read_file.call(context, {"path": f"figures/{name}"})
    assert outcome.ok, outcome.content
    assert "30 × 20 pixels" in outcome.content
    (seen,) = outcome.images
    assert (seen.mediaType, seen.title) == (media_type, f"figures/{name}")
    assert recorder.blobs[seen.blob] == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"just text", "not a PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\n", "not a PNG or JPEG"),
        (b"\xff\xd8\xff", "not a PNG or JPEG"),
        (b"\xff\xd8\xff\xe0\0\0" * 9, "not a PNG or JPEG"),
        (png(8_001, 1), "8001 × 1 pixels"),
        (png(1, 1, PICTURE_BYTES), "the limit is"),
    ],
)
async def test_what_cannot_be_shown_is_refused(
    context: ToolContext, recorder: Recorder, data: bytes, words: str
) -> None:
    (context.project.root / "x.png").write_bytes(data)
    outcome = await read_file.call(context, {"path": "x.png"})
    assert not outcome.ok
    assert words in outcome.content
    assert recorder.blobs == {}


async def test_a_link_to_a_picture_outside_leads_nowhere(context: ToolContext, recorder: Recorder) -> None:
    outside = context.project.root.parent / "secret.png"
    outside.write_bytes(png(2, 2))
    (context.project.root / "x.png").symlink_to(outside)
    assert not (await read_file.call(context, {"path": "x.png"})).ok
    assert recorder.blobs == {}
