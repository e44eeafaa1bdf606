"""Which addresses belong to the public internet; `ipaddress` alone misjudges some that lead back inside."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

# All assigned global unicast addresses. Those that embed an IPv4 address (64:ff9b::/96, ::/96) lie outside.
UNICAST_V6 = IPv6Network("2000::/3")
# Reserved, or tunnels that may lead back inside (6to4, Teredo), although `is_global` may be True.
MISJUDGED = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")))


def is_public(address: str) -> bool:
    """True if an address, as getaddrinfo writes it, is public. Raises ValueError for a string that is no address."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if isinstance(ip, IPv6Address) and ip not in UNICAST_V6:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in MISJUDGED)
