"""Connections to real servers: they come, last, break and come back; nothing waits for one that does not answer."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.support import (
    configure,
    connectors,
    http_server,
    notes,
    old,
    pids,
    remote,
    running,
    until,
)

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.connectors.client import Connectors
from jupyterlab_postdoc.connectors.stdio import Complaints
from jupyterlab_postdoc.errors import PostdocError


@asynccontextmanager
async def using(file: Path | None, wait_s: float = 30.0) -> AsyncIterator[Connectors]:
    made = connectors(file, wait_s)
    try:
        yield made
    finally:
        await made.close()


async def names(used: Connectors, patterns: list[str] | None = None) -> list[str]:
    return [offer.remote for offer in await used.offers(patterns)]


async def look(used: Connectors, server: str = "papers", **arguments: Any) -> str:
    return (await used.call(server, "look", arguments, repeatable=True)).text


async def test_nothing_is_started_before_it_is_needed(tmp_path: Path) -> None:
    async with using(configure(tmp_path, papers=old(tmp_path))) as used:
        assert await names(used, ["nb_*", "mcp__other__*"]) == []
        assert used.problems() == []
        assert notes(tmp_path) == []
        assert await names(used, ["mcp__papers__*"]) == ["act", "look"]
        assert await names(used) == ["act", "look"]
        assert await look(used) == "look done"
        assert notes(tmp_path).count("listed") == 1
        assert len(pids(tmp_path)) == 1
    assert not running(pids(tmp_path)[0])


def test_without_the_package_there_is_a_sentence(tmp_path: Path) -> None:
    file = configure(tmp_path, papers=old(tmp_path))
    code = f"""
        import asyncio, sys
        from pathlib import Path

        sys.modules["mcp"] = None  # as if it were not installed

        from jupyterlab_postdoc.connectors.client import Connectors

        async def main():
            used = Connectors(Path({str(file)!r}))
            print(used.problems(), await used.offers(None), used.problems())
            await used.close()

        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("pip install 'jupyterlab-postdoc[mcp]'") == 2, done.stderr
    assert notes(tmp_path) == []


async def test_no_file_no_servers() -> None:
    async with using(None) as used:
        assert await names(used) == []
        assert used.problems() == []


async def test_both_transports_and_several_calls_at_once(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()
    with http_server(tmp_path) as (url, _):
        async with using(configure(tmp_path, far={"url": url}, near=remote(local))) as used:
            offers = await used.offers(None)
            assert used.problems() == []
            assert len({offer.name for offer in offers}) == len(offers) == 20
            began = time.monotonic()
            calls = [used.call(server, "slow", {"seconds": 1.0}, repeatable=True) for server in ("far", "near") * 4]
            answers = await asyncio.gather(*calls, used.call("near", "search", {"query": "owl"}, repeatable=True))
            assert [answer.text for answer in answers[:-1]] == ["at last"] * 8
            assert answers[-1].text.startswith("0. owl snippet")
            assert time.monotonic() - began < 4.0


async def test_a_slow_call_ends_at_its_limit_and_the_server_is_told(tmp_path: Path) -> None:
    with http_server(tmp_path) as (url, _):
        local = tmp_path / "local"
        local.mkdir()
        file = configure(tmp_path, far={"url": url, "timeout_s": 0.5}, near=remote(local, timeout_s=0.5))
        async with using(file) as used:
            await used.offers(None)
            for server, folder in (("far", tmp_path), ("near", local)):
                with pytest.raises(PostdocError, match=r"did not answer within 0.5 seconds.*is unknown"):
                    await used.call(server, "slow", {"seconds": 60}, repeatable=False)
                assert await until(lambda folder=folder: "slow cancelled" in notes(folder)), server
                assert (await used.call(server, "search", {"query": "owl"}, repeatable=True)).ok


async def test_a_cancelled_call_is_cancelled_at_the_server(tmp_path: Path) -> None:
    async with using(configure(tmp_path, papers=remote(tmp_path))) as used:
        await used.offers(None)
        call = asyncio.create_task(used.call("papers", "slow", {"seconds": 60}, repeatable=True))
        assert await until(lambda: "slow began" in notes(tmp_path))
        call.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.monotonic() - began < 2
        assert await until(lambda: "slow cancelled" in notes(tmp_path))
        assert (await used.call("papers", "search", {"query": "owl"}, repeatable=True)).ok
        assert len(pids(tmp_path)) == 1


async def test_a_server_that_was_killed_comes_back(tmp_path: Path) -> None:
    async with using(configure(tmp_path, papers=old(tmp_path))) as used:
        await used.offers(None)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        assert await until(lambda: "papers' ended with the exit code -9" in " ".join(used.problems()))
        assert await look(used) == "look done"
        assert used.problems() == []
        assert len(pids(tmp_path)) == 2


async def test_what_only_reads_is_asked_again_when_the_server_dies_of_it(tmp_path: Path) -> None:
    async with using(configure(tmp_path, papers=old(tmp_path))) as used:
        await used.offers(None)
        assert await look(used, die=True) == "look done"
        assert notes(tmp_path).count('look {"die": true}') == 2
        (tmp_path / "died").unlink()
        with pytest.raises(PostdocError, match=r"broke in mid-call. Whether it did what was asked is unknown"):
            await used.call("papers", "act", {"die": True}, repeatable=False)
        assert notes(tmp_path).count('act {"die": true}') == 1


async def test_a_network_server_that_was_killed_comes_back(tmp_path: Path) -> None:
    with http_server(tmp_path) as (url, process):
        async with using(configure(tmp_path, papers={"url": url})) as used:
            await used.offers(None)
            call = asyncio.create_task(used.call("papers", "slow", {"seconds": 60}, repeatable=False))
            assert await until(lambda: "slow began" in notes(tmp_path))
            process.kill()
            with pytest.raises(PostdocError, match="is unknown"):
                await asyncio.wait_for(call, 10)
            process.wait()
            port = int(url.split(":")[2].split("/")[0])
            with pytest.raises(PostdocError):
                await used.call("papers", "search", {"query": "owl"}, repeatable=True)
            assert await used.offers(["nothing"]) == []
            with http_server(tmp_path, port):
                assert await until_ok(used)
                assert used.problems() == []


async def until_ok(used: Connectors) -> bool:
    for _ in range(20):
        try:
            return (await used.call("papers", "search", {"query": "owl"}, repeatable=True)).ok
        except PostdocError:
            await asyncio.sleep(0.3)
    return False


async def test_a_mute_server_keeps_nobody_waiting_and_ends_with_us(tmp_path: Path) -> None:
    quick, mute = tmp_path / "quick", tmp_path / "mute"
    quick.mkdir()
    mute.mkdir()
    used = connectors(configure(tmp_path, mute=old(mute, "mute"), papers=old(quick)), wait_s=30)
    assert await names(used, ["mcp__papers__*"]) == ["act", "look"]
    used._wait_s = 1.0
    began = time.monotonic()
    assert await names(used) == ["act", "look"]
    assert time.monotonic() - began < 2.0
    began = time.monotonic()
    assert await names(used) == ["act", "look"]
    assert time.monotonic() - began < 0.5, "one run has waited for it; the next ones do not"
    assert used.problems() == ["The MCP server 'mute' has not answered yet."]
    assert await until(lambda: pids(mute))
    began = time.monotonic()
    await used.close()
    assert time.monotonic() - began < 6.0
    assert not any(map(running, pids(mute) + pids(quick)))


async def test_a_server_that_cannot_start_is_a_sentence_and_is_not_tried_for_ever(tmp_path: Path) -> None:
    missing = {"command": "no-such-program"}
    broken = old(tmp_path, "crash")
    lost = {"command": sys.executable, "cwd": "no/such/folder"}
    unset = {"command": sys.executable, "env": {"KEY": "${POSTDOC_TEST_UNSET}"}}
    nobody = {"url": "http://127.0.0.1:9/secret-path?key=abc"}
    file = configure(tmp_path, missing=missing, broken=broken, lost=lost, unset=unset, nobody=nobody)
    async with using(file) as used:
        assert await names(used) == []
        told = {problem.split("'")[1]: problem for problem in used.problems()}
        assert "could not be started: No such file or directory" in told["missing"]
        assert "ended with the exit code 4" in told["broken"]
        assert "said last: starting with nothing" in told["broken"]
        assert "its folder does not exist" in told["lost"]
        assert "POSTDOC_TEST_UNSET is not set" in told["unset"]
        assert "(http://127.0.0.1:9) cannot be reached: nothing answers there." in told["nobody"]
        assert "secret-path" not in str(told)
        for _ in range(6):
            began = time.monotonic()
            used._wait_s = 0.05
            await names(used)
            assert time.monotonic() - began < 1.0
        starts = len(pids(tmp_path))
        assert starts <= 6
        with pytest.raises(PostdocError, match="could not be started"):
            await used.call("missing", "x", {}, repeatable=True)


async def test_a_changed_list_is_listed_again(tmp_path: Path) -> None:
    older, newer = tmp_path / "older", tmp_path / "newer"
    older.mkdir()
    newer.mkdir()
    async with using(configure(tmp_path, papers=old(older), more=remote(newer))) as used:
        assert "later" not in await names(used)
        await look(used, change=True)
        await used.call("more", "grow", {}, repeatable=True)
        for _ in range(100):
            if {"later", "grown"} <= set(found := await names(used)):
                break
            await asyncio.sleep(0.05)
        assert {"later", "grown"} <= set(found)
        assert len(pids(older)) == len(pids(newer)) == 1


async def test_a_server_that_knows_only_the_older_handshake_is_used(tmp_path: Path) -> None:
    async with using(configure(tmp_path, papers=old(tmp_path, "strict", "chatty"))) as used:
        assert await names(used) == ["act", "look"]
        assert used.problems() == []
        assert "ended by an unknown request" in notes(tmp_path)


async def test_an_error_is_told_without_control_characters(tmp_path: Path) -> None:
    async with using(configure(tmp_path, papers=old(tmp_path))) as used:
        await used.offers(None)
        with pytest.raises(PostdocError, match=r"answered with an error: no \[31m such thing"):
            await look(used, refuse=True)


async def test_a_message_without_end_costs_the_connection_only(tmp_path: Path) -> None:
    async with using(configure(tmp_path, papers=old(tmp_path, "long"))) as used:
        await used.offers(None)
        with pytest.raises(PostdocError, match="broke in mid-call"):
            await look(used)
        assert (await used.call("papers", "act", {}, repeatable=False)).text == "act done"


async def test_an_edited_file_changes_the_servers(tmp_path: Path) -> None:
    file = configure(tmp_path, papers=old(tmp_path))
    async with using(file) as used:
        assert await names(used) == ["act", "look"]
        first = pids(tmp_path)[0]
        configure(tmp_path, papers=old(tmp_path, tools=["look"]), bad={"command": 3})
        assert await names(used) == ["look"]
        assert "'bad'" in used.problems()[0]
        assert await until(lambda: not running(first))
        with pytest.raises(PostdocError, match="does not offer this any more"):
            await used.call("papers", "act", {}, repeatable=False)
        configure(tmp_path)
        assert await names(used) == []
        assert await until(lambda: not any(map(running, pids(tmp_path))))


async def test_headers_reach_the_server_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    caplog.set_level(logging.DEBUG, "jupyterlab_postdoc")
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    os.environ["POSTDOC_TEST_PAPERS"] = "canary-7294610385"
    headers = {"Authorization": "Bearer ${POSTDOC_TEST_PAPERS}"}
    try:
        file = configure(tmp_path, papers={"url": f"http://127.0.0.1:{port}/mcp", "headers": headers})
        async with using(file) as used:
            assert await names(used) == []
            problem = used.problems()[0]
            assert problem.endswith(f"(http://127.0.0.1:{port}) refuses us (HTTP 401): check its `headers`.")
    finally:
        del os.environ["POSTDOC_TEST_PAPERS"]
        server.close()
        await server.wait_closed()
    assert "Authorization: Bearer canary-7294610385" in heard[0]
    assert "canary-7294610385" not in caplog.text + str(used.problems())


async def test_a_server_sees_no_secret_of_ours_and_its_complaints_are_clean(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jupyterlab_postdoc")
    local = tmp_path / "local"
    local.mkdir()
    canaries = {
        "ANTHROPIC_API_KEY": "sk-canary-5830174",
        "GITHUB_TOKEN": "gh-canary-5830174",
        "JUPYTER_TOKEN": "j-5830174",
    }
    os.environ.update(canaries)
    os.environ["POSTDOC_TEST_OWN"] = "own-canary-4417702"
    try:
        given = {"CANARY_TOKEN": "${POSTDOC_TEST_OWN}"}
        file = configure(tmp_path, papers=remote(local, env=given), older=old(tmp_path, env=given))
        async with using(file) as used:
            await used.offers(None)
            answer = await used.call("papers", "environment", {}, repeatable=True)
            pid = pids(local)[0]
            raw = Path(f"/proc/{pid}/environ").read_text() + Path(f"/proc/{pid}/cmdline").read_text()
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            raw += Path(f"/proc/{parent}/environ").read_text()
            assert await until(lambda: "starting with" in caplog.text)
    finally:
        for name in (*canaries, "POSTDOC_TEST_OWN"):
            del os.environ[name]
    assert answer.structured["CANARY_TOKEN"] == "own-canary-4417702"
    assert not set(canaries) & set(answer.structured)
    assert not any(value in raw for value in canaries.values())
    assert "starting with [secret removed] [31m" in caplog.text
    assert "own-canary" not in caplog.text


async def test_complaints_in_the_log_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jupyterlab_postdoc")
    flood = "import sys\nfor i in range(20000): print('y' * 3000, file=sys.stderr)"
    async with using(configure(tmp_path, noisy={"command": sys.executable, "args": ["-c", flood]})) as used:
        assert await names(used) == []
    lines = [record for record in caplog.records if "yyy" in record.getMessage()]
    assert 0 < len(lines) <= 220
    assert max(len(record.getMessage()) for record in lines) < 700


def test_no_secret_is_cut_in_two_and_so_missed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jupyterlab_postdoc")
    secrets.register("cut-4417702")
    said = Complaints("papers")
    for piece in (b"a cut-44", b"17702 b\n", b"z" * 1990 + b" cut-44", b"z" * 3000 + b"17702", b"17702\nend", b""):
        said.add(piece)
    assert "a [secret removed] b" in caplog.text
    assert said.last == "end"
    assert "17702" not in caplog.text
    at_the_edge = b"y" * 495 + b" cut-4417702"
    said.add(at_the_edge + b"\n")
    assert "cut-" not in caplog.text


def test_nothing_outlives_a_killed_server(tmp_path: Path) -> None:
    """The Jupyter server's place is taken by a small program: it is killed with SIGKILL while it is connected."""
    file = configure(tmp_path, papers=remote(tmp_path, "child"))
    code = f"""
        import asyncio
        from pathlib import Path
        from jupyterlab_postdoc.connectors.client import Connectors

        async def main():
            used = Connectors(Path({str(file)!r}), wait_s=30)
            print(len(await used.offers(None)), flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """

    async def scene() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(code), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert int(await asyncio.wait_for(process.stdout.readline(), 40)) == 10
        found = pids(tmp_path)
        assert len(found) == 2
        assert all(map(running, found))
        process.kill()
        await process.wait()
        assert await until(lambda: not any(map(running, found)), 8)

    asyncio.run(scene())
