"""Who is behind a proxy: the address of a client, where it is a trusted proxy that tells it.

`X-Forwarded-For` is a list that every proxy on the way adds its own client to, at the end. What stands before
the part that trusted proxies wrote is the client's own word, and worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address


class Proxies:
    """Addresses and networks of proxies that are believed; none is the default of everything."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._networks = [ip_network(text, strict=False) for text in trusted]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether a peer's word on its clients is believed."""
        known = _address(address)
        return known is not None and any(known in network for network in self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Whom a request comes from: the last one named that is no trusted proxy, the peer where nobody is named.

        `forwarded` are the values of its `X-Forwarded-For` fields, in order.
        """
        hops = [hop.strip() for line in forwarded for hop in line.split(",")]
        while hops and self.trusts(peer):
            named = _address(hops.pop())
            if named is None:
                # Whoever wrote that did not mean an address: there is nobody further to go back to.
                break
            peer = str(named)
        return peer

    def resolve(self, scope: Any) -> None:
        """Puts into an ASGI scope of HTTP the client, and the scheme that it uses, as a trusted proxy tells them."""
        peer = scope["client"]
        if peer is None or not self.trusts(peer[0]):
            return
        scope["client"] = self.client(peer[0], _values(scope, b"x-forwarded-for")), 0
        for scheme in _values(scope, b"x-forwarded-proto")[-1:]:
            if scheme in {"http", "https"}:
                scope["scheme"] = scheme


def place_of(address: str) -> str:
    """Whom an address stands for, where addresses are counted: of IPv6, of which one customer has 2^64, the network."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    # A socket that listens for both kinds shows the older one in this form: all of it is one network of IPv6.
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))


def _values(scope: Any, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


def _address(text: str) -> Address | None:
    """An address as proxies write them: perhaps in brackets, perhaps with a port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
