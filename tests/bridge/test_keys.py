"""Where things lie in the store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bridge.keys import Keys

KEYS = Keys("shop", 64)


def test_a_users_partition_is_the_same_for_ever() -> None:
    # Written down, because chats of before an upgrade lie where these numbers say.
    assert [KEYS.partition(user) for user in ("5217331175599", "6199190013487246", "")] == [43, 40, 52]


def test_a_users_partition_is_the_same_in_every_process() -> None:
    program = "from bridge.keys import Keys; print(Keys('shop', 64).partition('5217331175599'))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert int(run.stdout) == KEYS.partition("5217331175599")


def test_users_spread_evenly() -> None:
    counts = Counter(KEYS.partition(f"521733{number:07d}") for number in range(64_000))
    assert len(counts) == 64
    assert 800 < min(counts.values()) <= max(counts.values()) < 1_200


@given(st.text(), st.integers(1, 512))
def test_a_partition_is_one_of_those_that_there_are(user_id: str, partitions: int) -> None:
    assert 0 <= Keys("shop", partitions).partition(user_id) < partitions


def test_all_keys_of_a_partition_share_a_hash_tag() -> None:
    names = [
        KEYS.of(7, "inbox"),
        KEYS.of(7, "context", "521"),
        KEYS.of(7, "lease"),
        KEYS.seen(7, "521", "whatsapp", "id"),
    ]
    assert {re.search(r"\{(.*?)\}", name).group(1) for name in names} == {"p07"}  # type: ignore[union-attr]
    assert KEYS.of(7, "context", "521") == "bridge:shop:{p07}:context:521"


def test_two_tenants_share_no_key() -> None:
    other = Keys("bank", 64)
    assert KEYS.of(7, "inbox") != other.of(7, "inbox")
    assert KEYS.layout != other.layout
    assert KEYS.workers != other.workers
    assert KEYS.replies("w") != other.replies("w")


def test_a_message_id_is_a_strangers_text_and_not_part_of_a_key() -> None:
    key = KEYS.seen(7, "521", "whatsapp", "}{p08}:lease\r\n" + "x" * 10_000)
    assert re.fullmatch(r"bridge:shop:\{p07\}:seen:[0-9a-f]{32}", key)


def test_the_same_id_on_two_channels_is_two_messages() -> None:
    assert KEYS.seen(7, "521", "whatsapp", "id") != KEYS.seen(7, "521", "facebook", "id")
    assert KEYS.seen(7, "521", "whatsapp", "id") == KEYS.seen(7, "521", "whatsapp", "id")


def test_the_same_id_of_two_users_is_two_messages() -> None:
    assert KEYS.seen(7, "521", "whatsapp", "id") != KEYS.seen(7, "522", "whatsapp", "id")
    assert KEYS.seen(7, "5", "whatsapp", "21id") != KEYS.seen(7, "521", "whatsapp", "id")
