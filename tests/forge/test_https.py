"""What an institution's network needs: its own certificate authority, and a proxy on the way to GitHub."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.forge.githttp import GitHttp
from tests.forge.pushing import BRANCH, NAME, TOKEN, Source, publisher, study_of, there

from jupyterlab_postdoc.errors import PostdocError

NETWORK = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXY = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy")


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NETWORK, *PROXY):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody knows, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An institution")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, *form)
    (tmp_path / "server.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "authority.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return tmp_path / "authority.pem"


@pytest.fixture
def server(tmp_path: Path, authority: Path) -> Iterator[GitHttp]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.with_name("server.pem"))
    with GitHttp(tmp_path, TOKEN, auto_create=True, tls=context) as server:
        yield server


class Tunnel:
    """A proxy that only connects; `lines` are the requests it saw."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096) or b"\r\n\r\n"
        self.lines.append(head.decode("latin-1"))
        host, _, port = head.split()[1].decode().rpartition(":")
        with client, socket.create_connection((host, int(port))) as target:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self._copy, args=(target, client), daemon=True)
            back.start()
            self._copy(client, target)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE"])
async def test_an_authority_of_ones_own(
    server: GitHttp, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    study, to, sender, token = await study_of(tmp_path / "study"), there(server), publisher(tmp_path), Source()
    await sender.collect(to.key, study.root, study.tip)
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")  # nobody switches that off
    with pytest.raises(PostdocError) as caught:
        await sender.push(to, token, BRANCH, study.tip)
    assert (caught.value.code, caught.value.retryable) == ("github_unreachable", False)
    assert "certificate" in caught.value.message
    assert "SSL_CERT_FILE" in caught.value.next
    assert not server.requests
    monkeypatch.setenv(variable, str(authority))
    assert (await sender.push(to, token, BRANCH, study.tip)).changed
    assert server.branches(NAME) == {BRANCH: study.tip}


async def test_through_a_proxy(
    server: GitHttp, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, to, sender = await study_of(tmp_path / "study"), there(server), publisher(tmp_path)
    await sender.collect(to.key, study.root, study.tip)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    tunnel = Tunnel()
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    try:
        assert (await sender.push(to, Source(), BRANCH, study.tip)).changed
        assert tunnel.lines
        assert all(line.startswith(f"CONNECT {server.host} ") for line in tunnel.lines)
        assert not any("uthorization" in line for line in tunnel.lines)
        seen = len(tunnel.lines)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert await sender.heads(to, Source()) == {BRANCH: study.tip}
        assert len(tunnel.lines) == seen
    finally:
        tunnel.close()
    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(PostdocError) as caught:
        await sender.heads(to, Source())
    assert (caught.value.code, caught.value.retryable) == ("github_unreachable", True)
