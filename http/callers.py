"""Who calls: the peer's own address, or the one that a trusted proxy names in X-Forwarded-For."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import falcon

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The least that one IPv6 customer gets: whoever has one address of it has all of them.
IPV6_PREFIX = 64


def caller_of(req: falcon.Request, trusted: Sequence[Network]) -> str:
    """The caller as a text to count by: an IPv4 address, an IPv6 network of /64, or the peer's name if it has neither.

    That is the right-most address of X-Forwarded-For which is not a trusted proxy. A caller can write anything to the
    left of it, so nothing there is looked at; without a trusted peer the whole header is ignored.
    """
    peer = _address(req.remote_addr)
    if peer is None:
        return req.remote_addr
    hops = [_address(hop) for hop in (req.get_header("X-Forwarded-For") or "").split(",")]
    while _is_trusted(peer, trusted) and hops and (hop := hops.pop()) is not None:
        peer = hop
    return _countable(peer)


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _address(given: str) -> Address | None:
    text = given.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _countable(address: Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
