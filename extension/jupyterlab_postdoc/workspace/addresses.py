"""Which addresses of the network this server may be sent to by an agent: policy only, no traffic.

An agent may be talked into anything by what it reads. What it must never reach through the server are the places that
trust the server for where it stands: this machine, the institute's network, a cloud's metadata service.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from jupyterlab_postdoc.errors import PostdocError

MAX_ADDRESS = 4_000
WILDCARDS = ("0.0.0.0", "::", "")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_GLOBAL = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# Services that could mistake a request for their own language, or answer to anybody who reaches them. Below 1024 there
# is nothing else than such services, beside the web's own two ports.
_WEB = (80, 443)
_OTHER_SERVICES = {2049, 2375, 2376, 2379, 3306, 3389, 5060, 5061, 5432, 5900, 6000, 6379, 6667, 9200, 11211, 27017}


class Place(NamedTuple):
    """An address taken apart. ``host`` is in lower case, without brackets; ``path`` has the query; ``url`` is whole."""

    scheme: str
    host: str
    port: int
    path: str
    url: str

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == (443 if self.scheme == "https" else 80) else f"{shown}:{self.port}"


def parse(url: str) -> Place:
    """PostdocError("bad_message") for anything but a plain http or https address without a password."""
    if len(url) > MAX_ADDRESS or re.search(r"[\x00-\x20\x7f\\]", url):
        raise _bad("It is too long, or holds blanks or control characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as error:
        raise _bad("It cannot be read.") from error
    if parts.scheme not in ("http", "https"):
        raise _bad("Only http and https addresses can be fetched.")
    if "@" in parts.netloc:
        raise _bad("It holds a user name or a password; only public addresses can be fetched.")
    if ":" not in host and not _HOST.fullmatch(host):
        raise _bad("Its host name is not valid.")
    if ":" in host and literal(host) is None:
        raise _bad("Its host name is not valid.")
    port = port if port is not None else 443 if parts.scheme == "https" else 80
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
        "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]|") if parts.query else ""
    )
    place = Place(parts.scheme, host, port, path, "")
    return place._replace(url=f"{place.scheme}://{place.authority}{path}")


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host name spells out, or None."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_global(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet; IPv4 addresses inside of IPv6 ones count as themselves."""
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return False
        inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if inner is not None:
            return is_global(inner)
        return address in _UNICAST and address.is_global and not any(address in network for network in _NOT_GLOBAL)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def is_inner(address: IPv4Address | IPv6Address) -> bool:
    """Whether an exception may lead there: private networks and this machine, never metadata services or groups."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_inner(address.ipv4_mapped)
        return address.is_loopback or address in IPv6Network("fc00::/7")
    return address.is_private and not (
        address.is_link_local or address.is_multicast or address.is_reserved or address.is_unspecified
    )


class Policy:
    """What may be reached.

    ``allowed_hosts`` are patterns of host names; ``private_hosts`` ("host:port", exact) may have addresses inside of
    the institute; ``forbidden`` (address, port) is never reached, whatever else holds: our own server. A wildcard
    address there means every address of this machine.
    """

    def __init__(
        self, allowed_hosts: Sequence[str], private_hosts: Sequence[str], forbidden: Collection[tuple[str, int]]
    ) -> None:
        self.allowed = tuple(pattern.lower().strip() for pattern in allowed_hosts)
        self.private = frozenset(host.lower().strip() for host in private_hosts)
        self.forbidden = forbidden

    def is_exception(self, host: str, port: int) -> bool:
        """Whether the administrator has named this very host and port."""
        return f"{host}:{port}" in self.private or f"[{host}]:{port}" in self.private

    def check_place(self, place: Place) -> None:
        """Refuse by name, before anything is looked up. PostdocError("forbidden")."""
        if self.is_exception(place.host, place.port):
            return
        if not any(fnmatchcase(place.host, pattern) for pattern in self.allowed):
            raise _refused(
                f"Nothing may be fetched from {place.host}.",
                "The administrator has limited the hosts (PostdocApp.fetch_hosts); use one of those.",
            )
        if place.port in _OTHER_SERVICES or (place.port < 1024 and place.port not in _WEB):
            raise _refused(f"Port {place.port} belongs to another kind of service.", "Use a web address.")

    def check_address(self, host: str, port: int, found: str) -> None:
        """Refuse by what a name leads to. PostdocError("forbidden"); it does not tell which address that was."""
        address = literal(found)
        exception = self.is_exception(host, port)
        fine = address is not None and (is_global(address) or (exception and is_inner(address)))
        if not fine or address is None:
            raise _refused(
                f"{host} leads to an address that is not part of the public internet, so nothing was fetched.",
                "Use a public address; the administrator can allow a data server of the institute "
                "(PostdocApp.fetch_private_hosts).",
            )
        if self._is_ours(address, port):
            raise _refused(f"{host}:{port} is this server itself.", "Use another address.")

    def _is_ours(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        for own, own_port in tuple(self.forbidden):
            if own_port == port and ((own in WILDCARDS and of_this_machine(address)) or literal(own) == address):
                return True
        return False


def of_this_machine(address: IPv4Address | IPv6Address) -> bool:
    """Whether an interface of this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _bad(why: str) -> PostdocError:
    return PostdocError("bad_message", f"This address cannot be fetched. {why}", next="Give a plain https address.")


def _refused(what: str, next: str) -> PostdocError:
    return PostdocError("forbidden", what, next=next)
