"""Whatever a webhook brings: it is read, or refused by name; and what is read has bounds."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from bridge.channels.channel import Channel, Received
from bridge.channels.integrations.api import Bot, IntegrationsConfig
from bridge.channels.integrations.messenger import MOST_PARTS, Messenger
from bridge.channels.integrations.whatsapp import KNOWN_TYPES, WhatsApp
from bridge.channels.signature import SharedSecret
from bridge.errors import PayloadError
from bridge.messages import UserMessageReceived, encode_event

NOW_MS = 1_764_000_000_000
# Four times the default of WEBHOOK_BODY_LIMIT.
LARGEST_BODY = 1024 * 1024
# JSON writes a control character with six bytes: 16,384 of them in a text, a caption beside a URL, and the ids.
LARGEST_EVENT = 128 * 1024
CONFIG = IntegrationsConfig(
    base_url="https://integrations.example",
    webhook_base_url="https://bridge.example",
    bot=Bot(channel="c", bot_id="b", jwt=SecretStr("x")),
    signature=SharedSecret("", plain_header="X-Plain", hmac_header="X-Hmac"),
)
WHATSAPP, MESSENGER = WhatsApp(CONFIG, ignored=("status",)), Messenger(CONFIG)

WORDS = st.one_of(st.text(max_size=30), st.integers(1, 20_000).map("\x01".__mul__), st.just("ñ" * 16_384))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The good value three times out of four, else any."""
    return st.integers(0, 3).flatmap(lambda draw: VALUES if draw == 0 else good)


IDS = mostly(st.one_of(st.just("5215512345678"), WORDS))
FILE = st.fixed_dictionaries({}, optional={"url": mostly(WORDS), "caption": mostly(WORDS), "mimeType": mostly(WORDS)})
CONTACT = st.fixed_dictionaries(
    {},
    optional={
        "name": mostly(st.fixed_dictionaries({"formatted_name": mostly(WORDS)})),
        "phones": mostly(st.lists(st.fixed_dictionaries({"phone": mostly(WORDS)}), max_size=4)),
        "emails": mostly(st.lists(st.fixed_dictionaries({"email": mostly(WORDS)}), max_size=4)),
    },
)
CONTENT = mostly(
    st.one_of(
        FILE,
        st.lists(CONTACT, max_size=5),
        st.fixed_dictionaries({"body": mostly(WORDS)}),
        st.fixed_dictionaries({"latitude": VALUES, "longitude": VALUES, "name": WORDS}),
        st.fixed_dictionaries({"button_reply": st.fixed_dictionaries({"title": WORDS})}),
    )
)
WHATSAPP_BODIES = mostly(
    st.fixed_dictionaries(
        {"type": mostly(st.sampled_from(sorted(KNOWN_TYPES)))},
        optional={"id": IDS, "from": IDS, "to": IDS, "timestamp": VALUES} | dict.fromkeys(sorted(KNOWN_TYPES), CONTENT),
    )
)
ATTACHMENT = mostly(
    st.fixed_dictionaries(
        {"type": mostly(st.sampled_from(["image", "location", "fallback"]))},
        optional={"payload": mostly(FILE), "title": WORDS, "url": WORDS},
    )
)
EVENT = mostly(
    st.fixed_dictionaries(
        {"sender": mostly(st.fixed_dictionaries({"id": IDS}))},
        optional={
            "recipient": mostly(st.fixed_dictionaries({"id": IDS})),
            "timestamp": VALUES,
            "message": mostly(
                st.fixed_dictionaries(
                    {}, optional={"mid": IDS, "text": WORDS, "attachments": mostly(st.lists(ATTACHMENT, max_size=3))}
                )
            ),
            "postback": mostly(st.fixed_dictionaries({}, optional={"title": WORDS, "mid": IDS})),
        },
    )
)
ENTRY = mostly(st.fixed_dictionaries({"messaging": mostly(st.lists(EVENT, max_size=3))}, optional={"time": VALUES}))
MESSENGER_BODIES = mostly(
    st.fixed_dictionaries(
        {"message": mostly(st.fixed_dictionaries({"entry": mostly(st.lists(ENTRY, max_size=3))}))},
        optional={"authorRole": mostly(st.sampled_from(["user", "bot"]))},
    )
)


def read(channel: Channel, raw: bytes) -> Received:
    """What the channel reads; nothing where it refuses. Any other error is a fault."""
    try:
        return channel.read(raw, now_ms=NOW_MS)
    except PayloadError:
        return Received()


def check_bounds(received: Received) -> None:
    for message in received.messages:
        assert len(encode_event(UserMessageReceived(message))) <= LARGEST_EVENT
        assert message.user_id
        assert message.message_id
        assert message.text.strip() or message.media
    assert len(received.messages) + sum(received.silent.values()) <= 2 * MOST_PARTS


@settings(deadline=None)
@given(WHATSAPP_BODIES)
def test_what_whatsapp_brings_is_read_or_refused_and_bounded(body: Any) -> None:
    check_bounds(read(WHATSAPP, json.dumps(body).encode()))


@settings(deadline=None)
@given(MESSENGER_BODIES)
def test_what_messenger_brings_is_read_or_refused_and_bounded(body: Any) -> None:
    check_bounds(read(MESSENGER, json.dumps(body).encode()))


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([WHATSAPP, MESSENGER]))
def test_bytes_without_sense_are_refused_by_name(raw: bytes, channel: Channel) -> None:
    assert read(channel, raw).messages == ()


@settings(deadline=None)
@given(MESSENGER_BODIES)
def test_a_repeated_delivery_has_the_same_ids(body: Any) -> None:
    raw = json.dumps(body).encode()
    assert read(MESSENGER, raw).messages == read(MESSENGER, raw).messages


def filled(before: bytes, item: bytes, after: bytes) -> bytes:
    """As many items as the largest body holds."""
    count = (LARGEST_BODY - len(before) - len(after)) // (len(item) + 1)
    return before + b",".join([item] * count) + after


TEXT = b'"id":"1","from":"52",'
BOMBS = {
    "contacts": (WHATSAPP, filled(b"{" + TEXT + b'"type":"contacts","contacts":[', b"{}", b"]}")),
    "phones": (WHATSAPP, filled(b"{" + TEXT + b'"type":"contacts","contacts":[{"phones":[', b"{}", b"]}]}")),
    "entries": (MESSENGER, filled(b'{"message":{"entry":[', b"{}", b"]}}")),
    "events": (MESSENGER, filled(b'{"message":{"entry":[{"messaging":[', b"{}", b"]}]}}")),
    "attachments": (
        MESSENGER,
        filled(b'{"message":{"entry":[{"messaging":[{"message":{"attachments":[', b'{"type":""}', b"]}}]}]}}"),
    ),
    "keys in capitals": (WHATSAPP, filled(b"{", b'"TYPE":1', b"}")),
    "other keys": (WHATSAPP, filled(b"{", b'"aaaaaaa":1', b"}")),
    "quotes": (WHATSAPP, b'"' * LARGEST_BODY),
    "halves of emoji": (WHATSAPP, b'{"type":"text","text":{"body":"' + b"\\ud83d" * 174_000 + b'"}}'),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_body_holds_the_worker_for_long(bomb: str) -> None:
    channel, raw = BOMBS[bomb]
    assert len(raw) <= LARGEST_BODY
    began_s = time.process_time()
    check_bounds(read(channel, raw))
    assert time.process_time() - began_s < 2.0


def test_a_whole_bundle_of_the_largest_texts_is_taken_in_pieces_that_are_bounded() -> None:
    text = "\x01" * 16_384
    event = {"sender": {"id": "52"}, "timestamp": NOW_MS, "message": {"mid": "m", "text": text}}
    received = MESSENGER.read(msgspec.json.encode({"message": {"entry": [{"messaging": [event] * 9}]}}), now_ms=NOW_MS)
    assert [len(message.text) for message in received.messages] == [16_384] * 9
    check_bounds(received)
