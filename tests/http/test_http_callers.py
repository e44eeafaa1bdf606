"""Who calls: X-Forwarded-For counts only as far as trusted proxies wrote it."""

from __future__ import annotations

import falcon.testing
import pytest
from front_door import settings

from bridge.http.callers import caller_of

PROXIES = "10.0.0.0/8,fd00::/8"


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("10.0.0.1", "203.0.113.5:4711", "203.0.113.5"),
        ("10.0.0.1", "203.0.113.5, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5,", "10.0.0.1"),
        ("fd00::1", "[2001:db8:1:2:3::4]:443", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "203.0.113.5", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.5", "203.0.113.5"),
    ],
)
def test_the_caller_is_the_last_address_that_no_trusted_proxy_has(peer: str, forwarded: str, caller: str) -> None:
    environ = falcon.testing.create_environ(remote_addr=peer, headers={"X-Forwarded-For": forwarded})
    assert caller_of(falcon.Request(environ), settings(trusted_proxies=PROXIES).trusted_proxies) == caller


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    environ = falcon.testing.create_environ(remote_addr="10.0.0.1", headers={"X-Forwarded-For": "203.0.113.5"})
    assert caller_of(falcon.Request(environ), settings().trusted_proxies) == "10.0.0.1"
