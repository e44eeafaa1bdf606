"""Which addresses belong to the open internet; `ipaddress` alone misjudges some that lead back inside."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

# All of IPv6 that is given out to anyone; what embeds an IPv4 address (64:ff9b::/96, ::/96) lies outside of it.
UNICAST_V6 = IPv6Network("2000::/3")
# Reserved, or a tunnel's way back inside (6to4, Teredo), though `is_global` may say otherwise.
MISJUDGED = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")))


def is_public(address: str) -> bool:
    """Whether an address, as getaddrinfo writes it, may be any stranger's. Raises ValueError when it is none."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if isinstance(ip, IPv6Address) and ip not in UNICAST_V6:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in MISJUDGED)
