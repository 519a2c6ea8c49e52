"""Fetching over real sockets: what arrives, what is refused, and what is left when it goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import subprocess
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from tests.workspace.servers import Web, moved, page, raw, web

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.addresses import is_global, of_this_machine, parse
from jupyterlab_postdoc.workspace.fetch import Fetched, Fetcher

CSV = b"a,b\n1,2\n"


def fetcher(*servers: Web, **options: Any) -> Fetcher:
    named = {"max_bytes": 1_000_000, "timeout_s": 20, "private_hosts": [server.place for server in servers]}
    return Fetcher(**{**named, **options})


async def refusal(made: Fetcher, url: str, folder: Path) -> PostdocError:
    """The error; nothing may be left behind."""
    with pytest.raises(PostdocError) as caught:
        await made.download(url, folder / "got")
    assert list(folder.iterdir()) == []
    assert caught.value.message.endswith(".")
    return caught.value


async def test_a_file_is_fetched_with_its_checksum(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []

    async def tell(got: int, total: int | None) -> None:
        told.append((got, total))

    big = b"0123456789abcdef" * 200_000
    async with web({"/a%20b?x=1": page(CSV, "Text/CSV; charset=utf-8"), "/big": page(big)}) as server:
        made = fetcher(server, max_bytes=4_000_000, stall_s=0.04)
        got = await made.download(server.url("/a%20b?x=1#part"), tmp_path / "a.csv", tell)
        assert got == Fetched(server.url("/a%20b?x=1"), "text/csv", 8, hashlib.sha256(CSV).hexdigest(), "")
        assert (tmp_path / "a.csv").read_bytes() == CSV
        got = await made.download(server.url("/big"), tmp_path / "big", tell)
        assert got.sha256 == hashlib.sha256(big).hexdigest()
        assert (tmp_path / "big").read_bytes() == big
    assert all(total in (None, 8, len(big)) for _, total in told)
    for request in server.requests:
        assert "Cookie" not in request
        assert "Authorization" not in request
        assert f"Host: {server.place}" in request


async def test_chunked_and_endless_bodies_are_whole(tmp_path: Path) -> None:
    chunked = raw("200 OK", {"Transfer-Encoding": "chunked"}, b"4\r\na,b\n\r\n4\r\n1,2\n\r\n0\r\n\r\n")
    until_close = raw("200 OK", {"Content-Disposition": "attachment; filename*=UTF-8''k%C3%A4se.csv"}, CSV)
    async with web({"/chunked": chunked, "/close": until_close}) as server:
        for path in ("/chunked", "/close"):
            got = await fetcher(server).download(server.url(path), tmp_path / "x")
            assert (tmp_path / "x").read_bytes() == CSV
    assert got.file_name == "käse.csv"


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0.0.0.0", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::]", "localhost"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"),
        *("169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[2001::1]", "[64:ff9b:1::1]"),
        *("localhost.", "LOCALHOST", "１２７.0.0.1"),
    ],
)
async def test_addresses_that_are_not_public_are_refused(tmp_path: Path, host: str) -> None:
    async with web({"/": page(CSV)}) as server:
        error = await refusal(fetcher(), f"http://{host}:{server.port}/", tmp_path)
        assert error.code in ("forbidden", "tool_failed")
        if error.code == "tool_failed":  # no such name here: then nothing was connected to either
            assert "no host" in error.message
        else:
            assert "not part of the public internet" in error.message
        assert server.requests == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(("8.8.8.8", True), ("1.1.1.1", True), ("2606:4700::1111", True), ("64:ff9b::808:808", True)),
        *(("192.0.2.1", False), ("198.18.0.1", False), ("240.0.0.1", False), ("::ffff:8.8.8.8", True)),
        *(("3fff::1", False), ("5f00::1", False), ("2002:808:808::", False), ("fe80::1%lo", False)),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_global(ip_address(address)) is public


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.org/x", "gopher://example.org", "http://", "http:///x", "example.org"),
        *("http://user:secret@example.org/", "http://user@example.org", "http://example.org:99999/", "http://a b/"),
        *("http://exa\nmple.org/", "http://example.org\\@evil/", "http://[::1", "http://ex%61mple/", "http://-x/"),
        *("http://example.org:x/", "data:text/csv,a", "http://" + "a" * 5000),
    ],
)
async def test_what_is_no_plain_web_address_is_refused(tmp_path: Path, url: str) -> None:
    error = await refusal(fetcher(), url, tmp_path)
    assert error.code == "bad_message"
    assert "secret" not in error.message


def test_an_address_is_taken_apart_once() -> None:
    assert parse("HTTP://Bücher.Example.:80/käse?q=ü#x").url == "http://xn--bcher-kva.example/k%C3%A4se?q=%C3%BC"
    assert parse("https://[2606:4700::1111]:444").url == "https://[2606:4700::1111]:444/"


async def test_redirects_are_followed_and_checked_each_time(tmp_path: Path) -> None:
    async with web() as server, web({"/": page(b"inner")}) as inner:
        server.pages |= {
            "/hop": moved("/data"),
            "/data": page(CSV),
            "/in": moved(inner.url("/")),
            "/meta": moved("http://169.254.169.254/latest/meta-data"),
            "/file": moved("file:///etc/passwd"),
            "/user": moved(f"http://u:p@{server.place}/data"),
            "/loop": moved("/loop"),
        }
        made = fetcher(server)
        assert (await made.download(server.url("/hop"), tmp_path / "x")).final_url == server.url("/data")
        (tmp_path / "x").unlink()
        for path in ("/in", "/meta"):
            assert (await refusal(made, server.url(path), tmp_path)).code == "forbidden"
        for path in ("/file", "/user"):
            assert (await refusal(made, server.url(path), tmp_path)).code == "bad_message"
        server.requests.clear()
        assert "redirected more than 5 times" in (await refusal(made, server.url("/loop"), tmp_path)).message
        assert len(server.requests) == 6
        assert inner.requests == []


async def test_a_name_that_leads_elsewhere_a_moment_later_is_resolved_once(tmp_path: Path) -> None:
    """A rebinding name: public when it is looked at, this machine when it is connected to."""
    asked: list[str] = []
    async with web({"/": page(b"inner")}) as server:

        async def rebinding(host: str, port: int) -> list[tuple[int, Any]]:
            asked.append(host)
            # a public address where nobody is: an attempt to connect there fails or takes until we give up
            found = "203.0.114.1" if len(asked) % 2 else "127.0.0.1"
            return [(socket.AF_INET, (found, port))]

        made = fetcher(resolve=rebinding, timeout_s=0.5)
        url = f"http://data.example:{server.port}/"
        assert (await refusal(made, url, tmp_path)).code == "tool_failed"
        assert asked == ["data.example"]
        assert (await refusal(made, url, tmp_path)).code == "forbidden"
        assert asked == ["data.example"] * 2

        async def mixed(host: str, port: int) -> list[tuple[int, Any]]:
            return [(socket.AF_INET, ("203.0.114.1", port)), (socket.AF_INET, ("127.0.0.1", port))]

        assert (await refusal(fetcher(resolve=mixed), url, tmp_path)).code == "forbidden"
        assert server.requests == []


async def test_the_administrator_decides_which_hosts(tmp_path: Path) -> None:
    async def nobody(host: str, port: int) -> list[tuple[int, Any]]:
        raise socket.gaierror(f"{host}:{port}")

    made = fetcher(allowed_hosts=["*.example.org", "data.test"], resolve=nobody)
    for url in ("http://www.example.org/", "http://DATA.test/", "http://a.b.example.org./"):
        assert "no host" in (await refusal(made, url, tmp_path)).message
    for url in ("http://example.org/", "http://example.org.evil.test/", "http://xdata.test/", "http://8.8.8.8/"):
        error = await refusal(made, url, tmp_path)
        assert (error.code, "fetch_hosts" in error.next) == ("forbidden", True)
    for port in (0, 22, 25, 6379):
        assert (await refusal(fetcher(resolve=nobody), f"http://h.test:{port}/", tmp_path)).code == "forbidden"


async def test_an_exception_is_one_host_and_one_port_and_never_a_metadata_service(tmp_path: Path) -> None:
    async with web({"/": page(CSV)}) as server, web({"/": page(CSV)}) as other:
        assert (await fetcher(server).download(server.url("/"), tmp_path / "x")).bytes == 8
        (tmp_path / "x").unlink()
        assert (await refusal(fetcher(server), other.url("/"), tmp_path)).code == "forbidden"
        same = f"http://localhost:{server.port}/"  # another name for the same place is not what was allowed
        assert (await refusal(fetcher(server), same, tmp_path)).code == "forbidden"
        made = fetcher(private_hosts=["169.254.169.254:80", "0.0.0.0:80"])
        assert (await refusal(made, "http://169.254.169.254/", tmp_path)).code == "forbidden"
        assert (await refusal(made, "http://0.0.0.0/", tmp_path)).code == "forbidden"


@pytest.mark.parametrize("own", ["127.0.0.1", "0.0.0.0", "::", ""])
async def test_our_own_server_is_refused_whatever_is_allowed(tmp_path: Path, own: str) -> None:
    async with web({"/": page(b"token")}) as server:
        made = fetcher(server)
        made.forbidden.add((own, server.port))
        error = await refusal(made, server.url("/"), tmp_path)
        assert (error.code, "this server itself" in error.message) == ("forbidden", True)
        assert server.requests == []
    assert of_this_machine(ip_address("127.0.0.1"))
    assert not of_this_machine(ip_address("8.8.8.8"))


async def test_a_file_that_is_too_large_is_refused_early_or_while_it_comes(tmp_path: Path) -> None:
    async with web({"/said": raw("200 OK", {"Content-Length": "1000001"}), "/more": b""}) as server:
        server.pages["/more"] = raw("200 OK", {}, b"x" * 1_200_000)
        server.pages["/just"] = page(b"x" * 1_000_000)
        server.hold.add("/said")
        for path in ("/said", "/more"):
            error = await refusal(fetcher(server), server.url(path), tmp_path)
            assert (error.code, "1 MB" in error.message) == ("too_large", True)
        assert (await fetcher(server).download(server.url("/just"), tmp_path / "x")).bytes == 1_000_000


@pytest.mark.parametrize(
    "answer",
    [
        raw("200 OK", {"Content-Length": "100"}, CSV),
        raw("200 OK", {"Transfer-Encoding": "chunked"}, b"8\r\na,b\n1,2\n\r\n"),
        raw("200 OK", {"Transfer-Encoding": "chunked"}, b"zz\r\na,b\n1,2\n\r\n"),
        raw("200 OK", {"Content-Length": "many"}, CSV),
        raw("200 OK", {"Content-Length": "8, 9"}, CSV),
        raw("200 OK", {"Content-Encoding": "gzip"}, CSV),
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
        page(b"no", status="500 Out of order"),
        page(b"", status="204 No Content"),
        page(b"part", status="206 Partial Content"),
    ],
)
async def test_an_answer_that_is_not_whole_is_not_kept(tmp_path: Path, answer: bytes) -> None:
    async with web({"/": answer}) as server:
        assert (await refusal(fetcher(server), server.url("/"), tmp_path)).code == "tool_failed"


async def test_a_server_that_falls_silent_or_drips_is_given_up(tmp_path: Path) -> None:
    async with web({"/": raw("200 OK", {"Content-Length": "100"}, CSV), "/mute": b""}) as server:
        server.hold |= {"/", "/mute"}
        for path in ("/", "/mute"):
            error = await refusal(fetcher(server, stall_s=0.2), server.url(path), tmp_path)
            assert "sent nothing for 0.2 s" in error.message
        error = await refusal(fetcher(server, timeout_s=0.2), server.url("/"), tmp_path)
        assert "within 0.2 s" in error.message


async def test_a_stopped_download_leaves_nothing(tmp_path: Path) -> None:
    async with web({"/": raw("200 OK", {"Content-Length": "100"}, CSV)}) as server:
        server.hold.add("/")
        task = asyncio.create_task(fetcher(server).download(server.url("/"), tmp_path / "x"))
        while not server.requests:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert time.monotonic() - began < 1
        assert list(tmp_path.iterdir()) == []


async def test_an_old_file_stays_when_the_new_one_does_not_arrive(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    async with web() as server:
        with pytest.raises(PostdocError, match="404 Not Found"):
            await fetcher(server).download(server.url("/gone"), tmp_path / "x")
    assert (tmp_path / "x").read_text() == "old"


async def test_a_server_must_prove_its_name(tmp_path: Path) -> None:
    keys, into = tmp_path / "keys", tmp_path / "into"
    keys.mkdir()
    into.mkdir()
    order = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(keys / "key"), "-out", str(keys / "cert")]
    done = await asyncio.create_subprocess_exec("openssl", *order, *names, *files, stderr=subprocess.DEVNULL)
    assert await done.wait() == 0
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(keys / "cert", keys / "key")
    async with web({"/": page(CSV)}, tls=ours) as server:
        url = f"https://{server.place}/"
        error = await refusal(fetcher(server), url, into)
        assert "could not prove who it is" in error.message
        trusting = ssl.create_default_context(cafile=str(keys / "cert"))
        assert (await fetcher(server, tls=trusting).download(url, into / "x")).bytes == 8
