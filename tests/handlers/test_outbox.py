"""The way out of one connection, with a socket that takes everything at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from jupyterlab_postdoc.handlers.outbox import FLUSH_BYTES, Outbox


class Taken:
    """What was written, message by message."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def write(self, messages: Sequence[bytes]) -> None:
        self.messages += messages


async def a_few_steps() -> None:
    """Of the loop; far less time than a flush waits for more."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_small_frames_of_a_moment_leave_as_one_array():
    taken = Taken()
    outbox = Outbox(taken.write)
    outbox.batch = True
    outbox.put(b"0")
    await outbox.flushed()
    for number in range(1, 4):
        outbox.put(b"%d" % number)
        await a_few_steps()
    await outbox.flushed()
    assert [json.loads(m) for m in taken.messages] == [[0], [1, 2, 3]]


async def test_enough_for_a_message_does_not_wait_for_the_moment_to_end():
    taken = Taken()
    outbox = Outbox(taken.write)
    outbox.batch = True
    outbox.put(b"0")
    await outbox.flushed()
    outbox.put(b"1")
    await a_few_steps()
    outbox.put(b'"%b"' % (b"x" * FLUSH_BYTES))
    await a_few_steps()
    assert len(taken.messages) >= 2
    await outbox.flushed()
    assert [json.loads(m)[0] for m in taken.messages][:2] == [0, 1]


async def test_closing_while_frames_are_gathered_lets_everybody_go():
    outbox = Outbox(Taken().write)
    outbox.batch = True
    outbox.put(b"0")
    await outbox.flushed()
    outbox.put(b"1")
    waiting = asyncio.create_task(outbox.flushed())
    await a_few_steps()
    outbox.close()
    await asyncio.wait_for(waiting, 5)
    assert outbox.size == 0
