"""What is written down, and read again."""

from __future__ import annotations

import msgspec
import pytest

from bridge.codecs.liveagent.session import LiveAgentSession, read, written
from bridge.messages import (
    Ask,
    ConnectRequest,
    ConnectRequested,
    FinishRequested,
    InboxEvent,
    LeaveRequested,
    Media,
    UserMessage,
    UserMessageReceived,
    decode_event,
    encode_event,
)
from bridge.records import (
    ChatRecord,
    ChatState,
    Delivery,
    OwedBotState,
    context_entry,
    decode_record,
    encode_record,
    unread,
)

SESSION = LiveAgentSession(
    session_id="s", key="k", affinity="a", opened_at_ms=2, ack=3, offset=4, sequence=5, said=6, heard=7, repairs=8
)
# As 0.1.0 wrote it, in the middle of a repair.
VERSION_1 = b"""{"chat_id":"c","request":{"user_id":"5217331175599","bot_slug":"shop","bot_id":"1","name":"Ana",
"provider":"whatsapp","email":"ana@example.com"},"state":"active","opened_at_ms":1,"step":7,"contact_id":"003","case_id":"500",
"session":{"session_id":"s","key":"s!1!k","affinity":"a","opened_at_ms":2,"ack":3,"offset":4,"sequence":5,"said":6,
"heard":7,"repairs":1,"repair":"resync"},"requested":true,"agent_name":"Eva","owed_count":1,"recent":["0a1b"],
"to_agent":[{"id":"c-a1","text":"hola","owed_since_ms":12,"message":{"message_id":"m1","user_id":"5217331175599",
"provider":"whatsapp","sent_at_ms":9,"text":"hola"}}]}"""
REQUEST = ConnectRequest(
    user_id="5217331175599",
    bot_slug="shop",
    bot_id="1",
    name="Ana",
    provider="whatsapp",
    email="a@b.c",
    extra_data={"source_flow_bot": "SFB001"},
)
PICTURE = Media(kind="image", url="https://m.example/1.jpg", mime_type="image/jpeg", caption="mi ticket")


def message(text: str = "", *, sender: str = "user", media: Media | None = None) -> UserMessage:
    return UserMessage(
        message_id="id",
        user_id="5217331175599",
        provider="whatsapp",
        sent_at_ms=1636646697866,
        sender=sender,  # type: ignore[arg-type]
        text=text,
        media=media,
    )


FULL = ChatRecord(
    chat_id="c",
    request=REQUEST,
    state=ChatState.CLOSING,
    opened_at_ms=1,
    step=9,
    ask=Ask("replies", "1"),
    joined=[Ask("replies", "2")],
    contact_id="003",
    case_id="500",
    session=written(SESSION),
    broke_ms=[3],
    requested=True,
    listening=False,
    leaving=True,
    left_at_ms=16,
    agent_name="Eva",
    agent_typing=True,
    next_text_ms=17,
    queue_position=0,
    queue_wait_s=1.5,
    queue_told="place 1",
    queue_told_ms=10,
    held_since_ms=11,
    owed_count=2,
    recent=["0a1b"],
    to_agent=[Delivery(id="c-a1", text="ñandú 🤖", owed_since_ms=12, message=message("x"), media=PICTURE)],
    to_user=[Delivery(id="c-u2", text="", owed_since_ms=13)],
    to_bot=OwedBotState(state="timeout", due_at_ms=14),
    end=ChatState.FAILED,
    reason="because",
    ended_at_ms=15,
)


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode_record(encode_record(FULL)) == FULL


def test_the_full_record_of_this_test_leaves_no_field_at_its_default() -> None:
    bare = ChatRecord(chat_id="", request=REQUEST, state=ChatState.NEW, opened_at_ms=0)
    same = {name for name in bare.__struct_fields__ if getattr(bare, name) == getattr(FULL, name)}
    assert same == {"version", "request"}


def test_a_bare_record_is_read_as_it_was_written_and_shares_no_list() -> None:
    bare = ChatRecord(chat_id="c", request=REQUEST, state=ChatState.CONNECTING, opened_at_ms=1)
    one, two = decode_record(encode_record(bare)), decode_record(encode_record(bare))
    assert one == two == bare
    one.to_agent.append(FULL.to_agent[0])
    assert two.to_agent == []


def test_a_record_says_its_version() -> None:
    assert msgspec.json.decode(encode_record(FULL))["version"] == 2


def test_a_record_of_version_1_is_read_with_its_session() -> None:
    record = decode_record(VERSION_1)
    assert record.session is not None
    assert record.session.health == "repairing"
    assert read(record.session) == LiveAgentSession(
        session_id="s",
        key="s!1!k",
        affinity="a",
        opened_at_ms=2,
        ack=3,
        offset=4,
        sequence=5,
        said=6,
        heard=7,
        repairs=1,
        repair="resync",
    )
    assert (record.step, record.to_agent[0].text, record.recent) == (7, "hola", ["0a1b"])
    assert decode_record(encode_record(record)) == record
    assert decode_record(VERSION_1.replace(b',"repair":"resync"', b"")).session == msgspec.structs.replace(
        record.session,
        health="ok",
        sending=msgspec.Raw(bytes(record.session.sending).replace(b',"repair":"resync"', b"")),
        receiving=msgspec.Raw(bytes(record.session.receiving).replace(b',"repair":"resync"', b"")),
    )


@pytest.mark.parametrize("field", ["session_id", "opened_at_ms"])
def test_a_record_whose_session_is_of_no_version_cannot_be_read(field: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_record(VERSION_1.replace(field.encode(), b"other"))


def test_a_record_of_a_later_version_that_only_added_fields_can_be_read() -> None:
    raw = encode_record(FULL).replace(b'{"version"', b'{"brand_new":1,"version"', 1)
    assert decode_record(raw) == FULL


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", encode_record(FULL)[:-1], encode_record(FULL).replace(b'"c"', b"1")]
)
def test_anything_else_is_no_record(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_record(raw)


# --- context --------------------------------------------------------------------------------------------------------


def test_a_context_entry_looks_as_the_api_shows_it() -> None:
    """The fields of GET /v1/context (settings.md, "Context")."""
    entry = context_entry(message("9"), client="coppel", now_ms=1636646699383)
    assert msgspec.json.decode(msgspec.json.encode(entry)) == {
        "userId": "5217331175599",
        "client": "coppel",
        "timestamp": 1636646697866,
        "text": "9",
        "from": "user",
        "ttl": "2021-11-12T16:04:59.383000Z",
    }


def test_a_context_entry_of_a_file_says_where_it_lies() -> None:
    entry = context_entry(message(sender="bot", media=PICTURE), client="coppel", now_ms=0)
    assert msgspec.json.decode(msgspec.json.encode(entry)) == {
        "userId": "5217331175599",
        "client": "coppel",
        "timestamp": 1636646697866,
        "url": "https://m.example/1.jpg",
        "mimeType": "image/jpeg",
        "caption": "mi ticket",
        "from": "bot",
        "ttl": "1970-01-02T00:00:00Z",
    }


def test_a_context_entry_is_read_as_it_was_written() -> None:
    entry = context_entry(message("9", media=PICTURE), client="coppel", now_ms=1)
    assert msgspec.json.decode(msgspec.json.encode(entry), type=type(entry)) == entry


# --- the inbox ------------------------------------------------------------------------------------------------------

EVENTS: list[InboxEvent] = [
    ConnectRequested(REQUEST, Ask("replies", "1")),
    ConnectRequested(REQUEST),
    FinishRequested("5217331175599", Ask("replies", "2")),
    UserMessageReceived(message("hola", media=PICTURE)),
    LeaveRequested(message("restart")),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_of_the_inbox_is_read_as_it_was_written_and_names_its_user(event: InboxEvent) -> None:
    assert decode_event(encode_event(event)) == event
    assert event.user_id == "5217331175599"


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"type":"ChatEnded"}', b'{"type":"FinishRequested"}'])
def test_anything_else_is_no_event_of_the_inbox(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_event(raw)


def test_what_a_user_wrote_is_not_lost_when_not_even_a_chat_may_look_at_it() -> None:
    (letter,) = unread(UserMessageReceived(message("hola", media=PICTURE)), "1-0", reason="poison", now_ms=5)
    assert (letter.delivery.message, letter.reason, letter.direction) == (
        message("hola", media=PICTURE),
        "poison",
        "to_agent",
    )
    assert unread(FinishRequested("1"), "1-0", reason="poison", now_ms=5) == []


def test_a_text_that_a_user_wrote_is_written_once_and_comes_back() -> None:
    message = UserMessage(message_id="m", user_id="1", provider="whatsapp", sent_at_ms=1, text="un texto largo")
    owed = [
        Delivery(id="c-a1", text="un texto largo", owed_since_ms=1, message=message),
        Delivery(id="c-a2", text="about the file", owed_since_ms=1, message=message),
        Delivery(id="c-a3", text="welcome", owed_since_ms=1),
    ]
    record = ChatRecord(
        chat_id="c",
        request=ConnectRequest(user_id="1", bot_slug="b", bot_id="b", name="Ana", provider="whatsapp", email=""),
        state=ChatState.ACTIVE,
        opened_at_ms=1,
        to_agent=list(owed),
    )
    raw = encode_record(record)
    assert raw.count(b"un texto largo") == 2, "one in each message"
    assert decode_record(raw).to_agent == owed
    assert record.to_agent == owed, "writing changes nothing"
