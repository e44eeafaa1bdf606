"""Live Agent to the letter (liveagent.md), and whatever else it may say."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.codecs.liveagent.batches import Unreadable
from bridge.codecs.liveagent.requests import LiveAgentCodec, PolledBatch, Prechat
from bridge.codecs.liveagent.session import (
    LiveAgentSession,
    OutOfStep,
    Repair,
    read,
    receiving_half,
    sending_half,
    turn,
    written,
)
from bridge.errors import BridgeError, DeskError, RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.events import (
    AgentLeft,
    AgentTyped,
    AgentWrote,
    ChatEnded,
    ChatEstablished,
    ChatQueued,
    ChatRefused,
    ChatTransferred,
    Event,
    FileRequested,
    QueueMoved,
    TextFound,
    TransferBegan,
)
from bridge.messages import ConnectRequest
from bridge.records import ChatRecord, ChatState, decode_record, encode_record
from bridge.wire import HttpCall, HttpReply

REQUEST = ConnectRequest(user_id="1", bot_slug="b", bot_id="1", name="Ana", provider="whatsapp", email="a@b.c")
KEY = "11111111-2222!1650000000000!c2ln+YXR1cm/l="
SESSION = LiveAgentSession(
    session_id="11111111-2222", key=KEY, affinity="0a1b", opened_at_ms=5, ack=3, offset=70, sequence=4, said=2, heard=1
)
BROKEN = msgspec.structs.replace(SESSION, repair="reconnect")
LOST = HttpReply(403, body=b"Session required but was invalid or not found")
MOVED = HttpReply(503, body=b"Invalid Affinity Token")
MIDST = {"X-LIVEAGENT-API-VERSION": "42", "X-LIVEAGENT-AFFINITY": "0a1b", "X-LIVEAGENT-SESSION-KEY": KEY}


def codec(base_url: str = "https://d.la1-c1.example/chat/rest/") -> LiveAgentCodec:
    return LiveAgentCodec(base_url, organization_id="00D", deployment_id="572", api_version="42")


def reply(body: Any, status: int = 200) -> HttpReply:
    return HttpReply(status, body=msgspec.json.encode(body))


def batch(*messages: Any, sequence: int = 4, **more: Any) -> HttpReply:
    return reply({"messages": list(messages), "sequence": sequence, "offset": 71, **more})


def message(kind: Any, **body: Any) -> dict[str, Any]:
    return {"type": kind, "message": body}


def polled(*messages: Any, session: LiveAgentSession = SESSION) -> PolledBatch:
    return codec().polled(session, batch(*messages))


def live_agent_headers(call: HttpCall) -> dict[str, str]:
    return {name: value for name, value in call.headers.items() if name.startswith("X-")}


# --- where ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "/", "//", "/chat", "/chat/", "/chat/rest", "/chat/rest/"])
def test_the_base_url_may_end_before_or_after_chat_rest(end: str) -> None:
    call = codec(f"https://d.la1-c1.example{end}").open_session()
    assert call.url == "https://d.la1-c1.example/chat/rest/System/SessionId"


def test_a_host_that_is_named_after_chat_is_left_alone() -> None:
    call = codec("https://chat.example/chat").open_session()
    assert call.url == "https://chat.example/chat/rest/System/SessionId"


# --- opening --------------------------------------------------------------------------------------------------------


def test_a_session_is_asked_for_with_the_string_null_as_affinity() -> None:
    call = codec().open_session()
    assert (call.method, call.body) == ("GET", b"")
    assert live_agent_headers(call) == {"X-LIVEAGENT-API-VERSION": "42", "X-LIVEAGENT-AFFINITY": "null"}


def test_a_session_is_what_the_desk_gave() -> None:
    given_by_desk = {"clientPollTimeout": 40, "key": KEY, "affinityToken": "0a1b", "id": "11111111-2222"}
    assert codec().opened(reply(given_by_desk), now_ms=5) == LiveAgentSession(
        session_id="11111111-2222", key=KEY, affinity="0a1b", opened_at_ms=5, poll_timeout_s=40.0
    )


@pytest.mark.parametrize(
    ("said", "understood"),
    [(40, 40.0), ("30", 30.0), (None, 40.0), ("soon", 40.0), (-1, 40.0), (10**400, 40.0), ("nan", 40.0), ([], 40.0)],
)
def test_a_poll_timeout_may_be_a_number_a_string_or_nonsense(said: Any, understood: float) -> None:
    body = f'{{"id":"i","key":"k","affinityToken":"a","clientPollTimeout":{msgspec.json.encode(said).decode()}}}'
    assert codec().opened(HttpReply(200, body=body.encode()), now_ms=0).poll_timeout_s == understood


def test_a_poll_timeout_may_be_left_out() -> None:
    assert codec().opened(reply({"id": "i", "key": "k", "affinityToken": "a"}), now_ms=0).poll_timeout_s == 40.0


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id":"i","key":null,"affinityToken":"a"}', b"\xff"])
def test_a_session_that_makes_no_sense_is_garbled(body: bytes) -> None:
    with pytest.raises(RemoteGarbled):
        codec().opened(HttpReply(200, body=body), now_ms=0)


def test_a_503_before_there_is_a_session_is_nothing_to_repair() -> None:
    with pytest.raises(RemoteUnavailable):
        codec().opened(MOVED, now_ms=0)


def test_an_agent_is_asked_for_to_the_letter() -> None:
    session = msgspec.structs.replace(SESSION, sequence=0)
    call = codec().request_chat(session, REQUEST, Prechat("573", "003C", "500K"))
    assert (call.method, call.url) == ("POST", "https://d.la1-c1.example/chat/rest/Chasitor/ChasitorInit")
    assert call.headers["Content-Type"] == "application/json"
    assert live_agent_headers(call) == {**MIDST, "X-LIVEAGENT-SEQUENCE": "1"}
    assert msgspec.json.decode(call.body) == {
        "organizationId": "00D",
        "deploymentId": "572",
        "buttonId": "573",
        "sessionId": "11111111-2222",
        "trackingId": "",
        "userAgent": "Yalo Bot",
        "language": "es-MX",
        "screenResolution": "1900x1080",
        "visitorName": "Ana",
        "prechatDetails": [detail("CaseId", "500K"), detail("ContactId", "003C")],
        "prechatEntities": [entity("Case"), entity("Contact")],
        "receiveQueueUpdates": True,
        "isPost": True,
    }


def detail(label: str, value: str) -> dict[str, Any]:
    return {"label": label, "value": value, "transcriptFields": [label], "displayToAgent": True, "entityMaps": []}


def entity(name: str) -> dict[str, Any]:
    field = {"fieldName": "Id", "label": f"{name}Id", "doFind": True, "isExactMatch": True, "doCreate": False}
    linked = {"entityName": name, "linkToEntityName": name, "linkToEntityField": "Id", "saveToTranscript": name}
    return {**linked, "showOnCreate": True, "entityFieldsMaps": [field]}


# --- talking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "noun", "body"),
    [
        (codec().text(SESSION, "hóla"), "Chasitor/ChatMessage", {"text": "hóla"}),
        (codec().end(SESSION), "Chasitor/ChatEnd", {"reason": "client"}),
    ],
    ids=["text", "end"],
)
def test_a_post_carries_the_next_number(call: HttpCall, noun: str, body: Any) -> None:
    assert (call.method, call.url) == ("POST", f"https://d.la1-c1.example/chat/rest/{noun}")
    assert live_agent_headers(call) == {**MIDST, "X-LIVEAGENT-SEQUENCE": "5"}
    assert msgspec.json.decode(call.body) == body


def test_a_session_is_deleted_by_its_key_without_a_number() -> None:
    call = codec().delete(SESSION)
    path = "https://d.la1-c1.example/chat/rest/System/SessionId/11111111-2222!1650000000000!c2ln%2BYXR1cm%2Fl%3D"
    assert (call.method, call.url) == ("DELETE", path)
    assert live_agent_headers(call) == MIDST


@pytest.mark.parametrize("status", [200, 204, 403, 404])
def test_a_session_is_gone_when_deleted_or_not_found(status: int) -> None:
    codec().deleted(HttpReply(status))


def test_a_session_is_not_gone_when_the_desk_is_down() -> None:
    with pytest.raises(RemoteUnavailable):
        codec().deleted(HttpReply(500))


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_post_that_was_taken_uses_its_number_up(status: int) -> None:
    assert codec().posted(SESSION, HttpReply(status, body=b"OK")) == msgspec.structs.replace(SESSION, sequence=5)


def test_a_text_that_was_taken_is_counted() -> None:
    assert codec().said(SESSION, HttpReply(200)) == msgspec.structs.replace(SESSION, sequence=5, said=3)


OUT_OF_STEP = "Out of sync Ack. Expected {}. Actual {}"


def test_a_409_that_names_the_posts_own_number_says_that_it_arrived() -> None:
    arrived = HttpReply(409, body=OUT_OF_STEP.format(5, 5).encode())
    assert codec().said(SESSION, arrived) == msgspec.structs.replace(SESSION, sequence=5, said=3)


@pytest.mark.parametrize("actual", [4, 3, 0, 6, 900])
def test_a_409_that_names_another_number_is_out_of_step(actual: int) -> None:
    with pytest.raises(OutOfStep) as raised:
        codec().posted(SESSION, HttpReply(409, body=OUT_OF_STEP.format(5, actual).encode()))
    assert (raised.value.accepted, raised.value.status) == (actual, 409)


@pytest.mark.parametrize(
    "body",
    [
        '{"errorMessage":"Out of sync Ack. Expected 498. Actual 4"}',
        "out of sync ack. expected 498. actual: 4",
        '{"expected": 498, "actual": 4}',
    ],
)
def test_the_number_is_found_in_whatever_is_wrapped_around_it(body: str) -> None:
    with pytest.raises(OutOfStep) as raised:
        codec().posted(SESSION, HttpReply(409, body=body.encode()))
    assert raised.value.accepted == 4


@pytest.mark.parametrize("body", [b"", b"Conflict", b"Actual", b"Actual \xff", b"Actually 7", b"Actual " + b"9" * 30])
def test_a_409_without_a_number_is_a_refusal(body: bytes) -> None:
    with pytest.raises(RemoteRefused) as raised:
        codec().posted(SESSION, HttpReply(409, body=body))
    assert raised.value.status == 409


STATUSES: list[tuple[HttpReply, type[BridgeError]]] = [
    (LOST, DeskError),
    (MOVED, DeskError),
    (HttpReply(500, body=b"Internal Server Error"), RemoteUnavailable),
    (HttpReply(502), RemoteUnavailable),
    (HttpReply(429), RemoteUnavailable),
    (HttpReply(400), RemoteRefused),
    (HttpReply(404), RemoteRefused),
    (HttpReply(405), RemoteRefused),
    (HttpReply(302), RemoteRefused),
]


VERDICTS = {403: "gone", 503: "broken"}


@pytest.mark.parametrize(("answer", "error"), STATUSES, ids=lambda value: str(getattr(value, "status", "")))
def test_every_status_has_its_meaning_on_a_post_a_poll_and_a_resync(
    answer: HttpReply, error: type[BridgeError]
) -> None:
    resync = msgspec.structs.replace(SESSION, repair="resync")
    for call in (
        lambda: codec().posted(SESSION, answer),
        lambda: codec().polled(SESSION, answer),
        lambda: codec().repaired(resync, answer),
    ):
        with pytest.raises(error) as raised:
            call()
        assert type(raised.value) is error
        assert raised.value.status == answer.status  # type: ignore[attr-defined]
        assert getattr(raised.value, "verdict", "") == VERDICTS.get(answer.status, "")
        assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Fri, 20 Nov 2026 21:00:09 GMT", "date": "Fri, 20 Nov 2026 21:00:00 GMT"}, 9.0),
        ({}, None),
    ],
)
def test_a_429_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    with pytest.raises(RemoteUnavailable) as raised:
        codec().posted(SESSION, HttpReply(429, headers))
    assert raised.value.retry_after_s == seconds


# --- polling --------------------------------------------------------------------------------------------------------


def test_a_poll_asks_for_what_came_after_the_ack_and_waits_longer_than_the_desk() -> None:
    call = codec().poll(SESSION)
    assert (call.method, call.url) == ("GET", "https://d.la1-c1.example/chat/rest/System/Messages?ack=3")
    assert live_agent_headers(call) == MIDST
    assert (call.read_timeout_s, call.total_timeout_s) == (45.0, 45.0)


def test_the_first_poll_acks_minus_one() -> None:
    fresh = LiveAgentSession(session_id="i", key="k", affinity="a", opened_at_ms=0)
    assert codec().poll(fresh).url.endswith("?ack=-1")


def test_a_204_brings_nothing_and_changes_nothing() -> None:
    assert codec().polled(SESSION, HttpReply(204)) == PolledBatch(SESSION)


def test_a_409_on_a_poll_is_another_poll() -> None:
    with pytest.raises(DeskError) as raised:
        codec().polled(SESSION, HttpReply(409, body=b"Duplicate Long Polling"))
    assert raised.value.verdict == "busy"


def test_a_batch_moves_ack_and_offset() -> None:
    assert polled().session == msgspec.structs.replace(SESSION, ack=4, offset=71)


@pytest.mark.parametrize("offset", [None, 0, -5, "x", True, 1.5, 2**70])
def test_a_senseless_offset_leaves_the_last_one(offset: Any) -> None:
    assert codec().polled(SESSION, batch(offset=offset)).session.offset == 70


def test_a_batch_without_an_offset_leaves_the_last_one() -> None:
    assert codec().polled(SESSION, reply({"messages": [], "sequence": 4})).session.offset == 70


@pytest.mark.parametrize("sequence", [0, 3])
def test_a_batch_that_was_taken_before_brings_nothing(sequence: int) -> None:
    again = batch(message("ChatMessage", text="old"), sequence=sequence)
    assert codec().polled(SESSION, again) == PolledBatch(msgspec.structs.replace(SESSION, stale=1))
    assert codec().polled(SESSION, batch(sequence=sequence)) == PolledBatch(SESSION)


def test_the_first_batch_is_number_nought() -> None:
    fresh = msgspec.structs.replace(SESSION, ack=-1)
    first = codec().polled(fresh, batch(message("ChatMessage", text="hi"), sequence=0))
    assert (first.session.ack, first.events) == (0, (AgentWrote("hi"),))


EVENTS: list[tuple[dict[str, Any], tuple[Event, ...]]] = [
    (message("ChatRequestSuccess", queuePosition=3, estimatedWaitTime=90), (ChatQueued(3, 90),)),
    (message("ChatRequestSuccess", estimatedWaitTime=-1), (ChatQueued(None, None),)),
    (message("QueueUpdate", position=0, estimatedWaitTime=-1), (QueueMoved(0, None),)),
    (message("QueueUpdate"), (QueueMoved(None, None),)),
    (message("QueueUpdate", position=1e308, estimatedWaitTime=1e308), (QueueMoved(None, None),)),
    (message("ChatRequestFail", reason="Unavailable"), (ChatRefused("Event [ChatRequestFail] : [Unavailable]"),)),
    (message("ChatRequestFail"), (ChatRefused("Event [ChatRequestFail] : [Unknown]"),)),
    (message("ChatEstablished", name="Eva", userId="005"), (ChatEstablished("Eva"),)),
    (message("ChatMessage", text="hi", name="Eva"), (AgentWrote("hi"),)),
    (message("ChatMessage", text=""), ()),
    (message("AgentTyping"), (AgentTyped(True),)),
    (message("AgentNotTyping"), (AgentTyped(False),)),
    (message("AgentDisconnect"), (AgentLeft(),)),
    (message("TransferToButtonInitiated"), (TransferBegan(),)),
    (message("ChatTransferred", name="Leo"), (ChatTransferred("Leo"),)),
    (message("FileTransfer", type="Requested"), (FileRequested(),)),
    (message("FileTransfer", type="Success"), ()),
    (message("ChatEnded", reason="agent"), (ChatEnded("agent", True),)),
    (message("ChatEnded", reason="client"), (ChatEnded("client", True),)),
    (message("ChatEnded", reason="clientIdleTimeout"), (ChatEnded("clientIdleTimeout", True),)),
    (message("ChatEnded"), (ChatEnded("unknown", True),)),
    (message("ChatEnded", reason="agentPushTimeout"), (ChatEnded("agentPushTimeout", False),)),
    (message("ChatEnded", reason="agentsUnavailable"), (ChatEnded("agentsUnavailable", False),)),
    (message("ChatEnded", reason="NoPost"), (ChatEnded("NoPost", False),)),
]


@pytest.mark.parametrize(("envelope", "events"), EVENTS, ids=lambda value: str(value)[:60])
def test_an_event_is_read_to_the_letter(envelope: dict[str, Any], events: tuple[Event, ...]) -> None:
    assert (polled(envelope).events, polled(envelope).unknown) == (events, ())


def test_every_message_of_a_batch_is_read_in_order() -> None:
    got = polled(
        message("ChatEstablished", name="Eva"),
        message("ChatMessage", text="one"),
        message("ChatMessage", text="two"),
        message("ChatEnded", reason="agent"),
    )
    assert got.events == (ChatEstablished("Eva"), AgentWrote("one"), AgentWrote("two"), ChatEnded("agent", True))
    assert got.session.heard == SESSION.heard + 2


def test_an_agent_who_began_and_stopped_typing_in_one_batch_is_not_typing() -> None:
    assert polled(message("AgentNotTyping"), message("AgentTyping")).events == (AgentTyped(False),)


@pytest.mark.parametrize(
    "kind", ["NewVisitorBreadcrumb", "SensitiveDataRules", "AsyncResult", "CustomEvent", "ChasitorChatMessage"]
)
def test_what_is_of_no_consequence_is_passed_over_in_silence(kind: str) -> None:
    assert polled(message(kind)) == polled()


@pytest.mark.parametrize("kind", ["RichMessage", "SwitchServer", "x" * 500])
def test_an_unknown_event_is_named_shortly(kind: str) -> None:
    assert polled(message(kind)).unknown == (kind[:60],)


GARBAGE: list[Any] = [
    None,
    7,
    "x",
    [],
    {},
    {"type": None},
    {"type": []},
    {"type": {}},
    {"message": 1},
    {"type": "ChatEnded "},
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=str)
def test_garbage_loses_nothing_of_what_stands_around_it(garbage: Any) -> None:
    got = polled(message("ChatMessage", text="one"), garbage, message("ChatMessage", text="two"))
    assert got.events == (AgentWrote("one"), AgentWrote("two"))
    assert len(got.unknown) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = sorted({envelope["type"] for envelope, _ in EVENTS} | {"ChasitorSessionData"})
FIELDS = ["text", "name", "reason", "type", "position", "queuePosition", "estimatedWaitTime", "chatMessages"]
ENTRY = st.dictionaries(st.sampled_from(["type", "content", "x"]), JSON | st.sampled_from(["Agent", "Chasitor"]))
ODD = st.fixed_dictionaries(
    {"type": st.sampled_from(NAMES)},
    optional={"message": st.dictionaries(st.sampled_from(FIELDS), JSON | st.lists(ENTRY)) | JSON},
)


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON | ODD, max_size=5), st.sampled_from(["", "restore", "resync"]))
def test_nothing_in_a_batch_breaks_the_reader_or_the_record(messages: list[Any], repair: Repair) -> None:
    session = msgspec.structs.replace(SESSION, repair=repair, heard=0)
    before, after = message("ChatMessage", text="BEFORE"), message("ChatMessage", text="AFTER")
    got = polled(before, *messages, after, session=session)
    texts = [event.text for event in got.events if isinstance(event, AgentWrote)]
    assert (texts[0], texts[-1]) == ("BEFORE", "AFTER")
    kept = written(got.session)
    record = ChatRecord(chat_id="c", request=REQUEST, state=ChatState.ON_HOLD, opened_at_ms=0, session=kept)
    for event in got.events:
        if isinstance(event, ChatQueued | QueueMoved):
            record.queue_position, record.queue_wait_s = event.position, event.wait_s
    assert decode_record(encode_record(record)) == record


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | JSON.map(msgspec.json.encode), st.integers(100, 599))
def test_no_answer_raises_anything_but_our_own_errors(body: bytes, status: int) -> None:
    answer, speaks = HttpReply(status, body=body), codec()
    for understood in (
        lambda: speaks.opened(answer, now_ms=0),
        lambda: speaks.posted(SESSION, answer),
        lambda: speaks.polled(SESSION, answer),
        lambda: speaks.repaired(BROKEN, answer),
        lambda: speaks.repaired(msgspec.structs.replace(SESSION, repair="resync"), answer),
        lambda: speaks.deleted(answer),
    ):
        with contextlib.suppress(BridgeError):
            understood()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"messages":[]}',
        b'{"messages":[],"sequence":-7}',
        b'{"messages":[],"sequence":1e99}',
        b"[" * 100_000,
    ],
)
def test_a_batch_without_a_number_is_asked_for_again_after_a_pause(body: bytes) -> None:
    with pytest.raises(RemoteGarbled) as raised:
        codec().polled(SESSION, HttpReply(200, body=body))
    assert not isinstance(raised.value, Unreadable)


LENIENT: list[tuple[bytes, tuple[str, ...]]] = [
    (b'{"messages":[{"type":"ChatMessage","message":{"text":"a \\ud83d"}}],"sequence":9}', ("a \ufffd",)),
    (b'{"messages":[{"type":"ChatMessage","message":{"text":"\xff b"}}],"sequence":9}', ("\ufffd b",)),
    (b'{"messages":[{"type":"ChatMessage","message":{"text":"c"}}],"sequence":"9"}', ("c",)),
    (b'{"messages":[{"type":"ChatMessage","message":{"text":"\\ud83d\\ude00"}}],"sequence":"9"}', ("\U0001f600",)),
    (b'{"messages":null,"sequence":9}', ()),
    (b'{"messages":{},"sequence":9}', ()),
]


@pytest.mark.parametrize(("body", "texts"), LENIENT, ids=lambda value: str(value)[:60])
def test_one_broken_character_costs_nothing_else_of_the_batch(body: bytes, texts: tuple[str, ...]) -> None:
    got = codec().polled(SESSION, HttpReply(200, body=body))
    assert (got.session.ack, got.events) == (9, tuple(map(AgentWrote, texts)))
    assert decode_event_texts(got) == texts


def decode_event_texts(got: PolledBatch) -> tuple[str, ...]:
    """The texts, written and read as a record would."""
    texts = tuple(event.text for event in got.events if isinstance(event, AgentWrote))
    return tuple(msgspec.json.decode(msgspec.json.encode(texts), type=tuple[str, ...]))


@pytest.mark.parametrize(
    "body", [b'{"sequence":9,"messages":[{]}', b'{"messages":' + b"[" * 100_000 + b',"sequence":"9"']
)
def test_a_batch_of_which_only_the_number_can_be_read_says_its_number(body: bytes) -> None:
    with pytest.raises(Unreadable) as raised:
        codec().polled(SESSION, HttpReply(200, body=body))
    assert raised.value.sequence == 9


def test_a_desk_that_sends_only_batches_with_old_numbers_has_to_be_reconnected() -> None:
    session, old = SESSION, batch(message("ChatMessage", text="old"), sequence=2)
    for count in range(1, 5):
        session = codec().polled(session, old).session
        assert session == msgspec.structs.replace(SESSION, stale=count)
    with pytest.raises(DeskError) as raised:
        codec().polled(session, old)
    assert raised.value.verdict == "broken"
    assert codec().polled(session, batch(sequence=4)).session.stale == 0


# --- repairing ------------------------------------------------------------------------------------------------------

RESTORE = msgspec.structs.replace(SESSION, affinity="new", sequence=0, repair="restore", repairs=1)


def reconnected(body: Any) -> HttpReply:
    return reply({"messages": [message("ReconnectSession", **body)]})


def test_a_repair_begins_with_reconnect_from_the_last_offset_with_affinity_null() -> None:
    call = codec().repair(BROKEN)
    path = "https://d.la1-c1.example/chat/rest/System/ReconnectSession?ReconnectSession.offset=70"
    assert (call.method, call.url) == ("GET", path)
    assert live_agent_headers(call) == {**MIDST, "X-LIVEAGENT-AFFINITY": "null"}


@pytest.mark.parametrize("reset", [{"resetSequence": True}, {}])
def test_after_reconnect_posts_are_numbered_again_and_the_poll_goes_on_from_the_last_ack(reset: dict[str, Any]) -> None:
    session = codec().repaired(BROKEN, reconnected({**reset, "affinityToken": "new"}))
    assert session == RESTORE
    assert written(session).health == "restoring"
    assert codec().poll(session).url.endswith("?ack=3")


@pytest.mark.parametrize("sequence", [0, 3, 4, 9])
def test_the_first_batch_after_a_reconnect_is_taken_whatever_its_number(sequence: int) -> None:
    got = codec().polled(RESTORE, batch(message("ChasitorSessionData", chatMessages=[]), sequence=sequence))
    assert (got.session.ack, got.session.repair) == (sequence, "resync")


def test_a_server_that_has_nothing_after_a_reconnect_may_number_from_the_start() -> None:
    got = codec().polled(RESTORE, HttpReply(204))
    assert (got.session.ack, got.session.repair) == (-1, "resync")


def test_a_server_that_does_not_know_the_last_ack_is_asked_from_the_start() -> None:
    got = codec().polled(RESTORE, HttpReply(400))
    assert (got.session.ack, got.session.repair) == (-1, "restore")
    with pytest.raises(RemoteRefused):
        codec().polled(got.session, HttpReply(400))


@pytest.mark.parametrize(
    "answer",
    [
        reply({"messages": []}),
        reply({}),
        reply({"messages": [None, 7, {"message": None}, {"message": []}, message("ReconnectSession")]}),
        reconnected({"affinityToken": 7}),
        HttpReply(204),
    ],
)
def test_a_reconnect_without_a_token_is_garbled(answer: HttpReply) -> None:
    with pytest.raises(RemoteGarbled):
        codec().repaired(BROKEN, answer)


def test_a_405_says_that_nothing_was_broken() -> None:
    session = codec().repaired(BROKEN, HttpReply(405))
    assert session == SESSION


def test_a_503_on_reconnect_is_a_desk_that_is_not_back_yet() -> None:
    with pytest.raises(RemoteUnavailable):
        codec().repaired(BROKEN, MOVED)


def test_a_403_on_reconnect_is_a_lost_session() -> None:
    with pytest.raises(DeskError) as raised:
        codec().repaired(BROKEN, LOST)
    assert raised.value.verdict == "gone"


def said(kind: str, *contents: str) -> list[dict[str, Any]]:
    return [{"type": kind, "content": content, "name": "x", "timestamp": 1, "sequence": 1} for content in contents]


def session_data(*entries: dict[str, Any], session: LiveAgentSession = RESTORE) -> PolledBatch:
    return codec().polled(session, batch(message("ChasitorSessionData", chatMessages=list(entries)), sequence=0))


def test_session_data_leads_to_the_resync() -> None:
    session = session_data().session
    assert session.repair == "resync"


@pytest.mark.parametrize("answer", [HttpReply(204), batch(message("QueueUpdate"), sequence=0)])
def test_a_desk_that_answers_without_session_data_keeps_nobody_waiting(answer: HttpReply) -> None:
    assert codec().polled(RESTORE, answer).session.repair == "resync"


def test_what_the_agent_said_meanwhile_is_new_and_the_rest_is_not_said_again() -> None:
    got = session_data(*said("Agent", "known", "new", "newer"), *said("Chasitor", "a", "b"))
    # That an agent is there is said again: it may have been lost with the session.
    assert got.events == (ChatEstablished("x"), AgentWrote("new"), AgentWrote("newer"))
    assert (got.session.heard, got.session.said, got.session.found) == (3, 2, 0)


def test_a_text_of_ours_that_arrived_unnoticed_is_found() -> None:
    got = session_data(*said("Chasitor", "a", "b", "it&#39;s &amp; fine"))
    assert got.events == (TextFound("it's & fine"),)
    assert (got.session.said, got.session.found) == (2, 1)


@pytest.mark.parametrize("texts", [(), ("a",), ("a", "b")])
def test_no_text_is_found_where_there_is_none_that_we_do_not_know(texts: tuple[str, ...]) -> None:
    got = session_data(*said("Chasitor", *texts))
    assert (got.events, got.session.said, got.session.found) == ((), 2, 0)


def test_a_transcript_with_gaps_and_garbage_is_read_as_far_as_it_goes() -> None:
    envelope = message("ChasitorSessionData", chatMessages=[None, 7, {}, {"type": []}, *said("Agent", "known", "new")])
    assert codec().polled(RESTORE, batch(envelope, sequence=0)).events == (ChatEstablished("x"), AgentWrote("new"))
    odds: list[Any] = [None, {}, "x"]
    for odd in odds:
        assert codec().polled(RESTORE, batch(message("ChasitorSessionData", chatMessages=odd), sequence=0)).events == ()


def test_the_resync_carries_no_number() -> None:
    session = msgspec.structs.replace(RESTORE, repair="resync")
    call = codec().repair(session)
    assert (call.method, call.url) == ("POST", "https://d.la1-c1.example/chat/rest/Chasitor/ChasitorResyncState")
    assert msgspec.json.decode(call.body) == {"organizationId": "00D"}
    assert live_agent_headers(call) == {**MIDST, "X-LIVEAGENT-AFFINITY": "new"}


def test_after_the_resync_texts_go_out_from_number_one() -> None:
    session = codec().repaired(msgspec.structs.replace(RESTORE, repair="resync"), HttpReply(200))
    assert session.repair == ""
    assert codec().text(session, "x").headers["X-LIVEAGENT-SEQUENCE"] == "1"


# --- the two halves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repair", ["", "reconnect", "restore", "resync"])
def test_a_session_is_read_as_it_was_written(repair: Repair) -> None:
    session = msgspec.structs.replace(SESSION, found=3, repairs=2, repair=repair)
    assert read(written(session)) == session


def test_a_poll_and_a_post_side_by_side_keep_their_own_counters() -> None:
    batch_taken = receiving_half(msgspec.structs.replace(SESSION, ack=4, offset=71, heard=2))
    text_taken = sending_half(msgspec.structs.replace(SESSION, sequence=5, said=3))
    together = msgspec.structs.replace(SESSION, ack=4, offset=71, heard=2, sequence=5, said=3)
    assert read(written(SESSION).received(batch_taken).sent(text_taken)) == together
    assert read(written(SESSION).sent(text_taken).received(batch_taken)) == together


def test_a_reconnect_replaces_the_sending_half_alone() -> None:
    session = written(BROKEN).sent(sending_half(RESTORE), turn(BROKEN, RESTORE))
    assert read(session) == RESTORE


def test_a_break_that_one_side_found_is_not_undone_by_the_other() -> None:
    broken = written(SESSION).broke()
    repaired = msgspec.structs.replace(RESTORE, repair="")
    resync = msgspec.structs.replace(RESTORE, repair="resync")
    assert broken.received(receiving_half(SESSION), turn(RESTORE, resync)).health == "broken"
    assert broken.sent(sending_half(SESSION), turn(resync, repaired)).health == "broken"


def test_a_poll_from_before_the_resync_does_not_bring_the_repair_back() -> None:
    repaired = written(msgspec.structs.replace(RESTORE, repair=""))
    resync = msgspec.structs.replace(RESTORE, repair="resync")
    assert repaired.received(receiving_half(resync), turn(RESTORE, resync)).health == "ok"
