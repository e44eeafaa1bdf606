"""Live Agent as the simulator plays it: the rules of liveagent.md, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from simulator_visitor import IDENTITIES, Visitor, detail, entity

from bridge.ops.simulator import Simulator

LOST = "Session required but was invalid or not found"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(hold_s=0.3) as running:
        yield running


@pytest.fixture
def visitor(simulator: Simulator) -> Visitor:
    """A session without a chat."""
    return Visitor(simulator.url)


@pytest.fixture
def talking(simulator: Simulator, visitor: Visitor) -> Visitor:
    """A session whose chat an agent has taken, everything polled so far."""
    assert visitor.init().status_code == 200
    simulator.accept("last")
    assert visitor.events() == ["ChatRequestSuccess", "ChatEstablished"]
    return visitor


def hold_longer(simulator: Simulator) -> None:
    simulator.configure(hold_s=20)


def wait_for_poll(simulator: Simulator, visitor: Visitor) -> None:
    simulator.wait_for(lambda: simulator.chat(visitor.id).poll is not None)


# --- opening --------------------------------------------------------------------------------------------------------


def test_session_has_a_key_that_begins_with_its_id(visitor: Visitor) -> None:
    session_id, opened_at_ms, signature = visitor.session["key"].split("!")
    assert session_id == visitor.id
    assert opened_at_ms.isdecimal()
    assert {"+", "/", "="} <= set(signature)
    assert visitor.session["clientPollTimeout"] == 40


@pytest.mark.parametrize("version", [None, "v48", ""])
def test_api_version_must_be_a_number(simulator: Simulator, version: str | None) -> None:
    headers = {"X-LIVEAGENT-AFFINITY": "null"} | ({} if version is None else {"X-LIVEAGENT-API-VERSION": version})
    answer = requests.get(f"{simulator.url}/liveagent/chat/rest/System/SessionId/", headers=headers)
    assert answer.status_code == 400


def test_chat_waits_in_the_queue_until_an_agent_takes_it(simulator: Simulator, visitor: Visitor) -> None:
    answer = visitor.init()
    assert (answer.status_code, answer.text) == (200, "OK")
    queued = visitor.poll().json()["messages"]
    assert [event["type"] for event in queued] == ["ChatRequestSuccess"]
    assert queued[0]["message"]["queuePosition"] == 0
    simulator.accept("Eduardo Ochoa", name="Berta")
    established = visitor.poll().json()["messages"][0]
    assert established["type"] == "ChatEstablished"
    assert established["message"]["name"] == "Berta"


def test_second_chat_of_a_button_stands_behind_the_first(simulator: Simulator, visitor: Visitor) -> None:
    visitor.init()
    second = Visitor(simulator.url, "Berta")
    second.init()
    assert second.poll().json()["messages"][0]["message"]["queuePosition"] == 1
    simulator.accept(visitor.id)
    third = Visitor(simulator.url, "Carla")
    third.init()
    assert third.poll().json()["messages"][0]["message"]["queuePosition"] == 1


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"organizationId": "00D000000000009"}, "organizationId"),
        ({"deploymentId": "deployment"}, "deploymentId"),
        ({"buttonId": "123"}, "buttonId"),
        ({"buttonId": None}, "buttonId"),
        ({"sessionId": "another"}, "sessionId"),
        ({"visitorName": None}, "visitor_name"),
        ({"visitorName": " "}, "visitorName"),
        ({"isPost": "true"}, "isPost"),
        ({"receiveQueueUpdates": False}, "receiveQueueUpdates"),
        ({"userAgent": "Somebody"}, "userAgent"),
        ({"surprise": 1}, "surprise"),
        ({"prechatDetails": [detail("CaseId", "5005K0000000001")]}, "prechatDetails.ContactId"),
        ({"prechatDetails": [detail("CaseId", ""), detail("ContactId", "0035K0000000001")]}, "prechatDetails.CaseId"),
        ({"prechatEntities": [entity("Case", "CaseId")]}, "prechatEntities.Contact"),
        ({"prechatEntities": [entity("Case", "Id"), entity("Contact", "ContactId")]}, "prechatEntities.Case"),
    ],
)
def test_chasitor_init_is_checked_field_by_field(visitor: Visitor, changes: dict[str, Any], wrong: str) -> None:
    answer = visitor.init(**changes)
    assert answer.status_code == 400
    properties = [fault["property"] for fault in answer.json()["details"]]
    assert properties == [wrong.replace("visitor_name", "visitorName")]


def test_refused_request_does_not_use_up_its_number(visitor: Visitor) -> None:
    assert visitor.init(visitorName=" ").status_code == 400
    assert visitor.init().status_code == 200


def test_request_without_agents_fails_by_an_event(simulator: Simulator, visitor: Visitor) -> None:
    simulator.configure(agents_online=False)
    assert visitor.init().status_code == 200
    failed = visitor.poll().json()["messages"]
    assert failed == [{"type": "ChatRequestFail", "message": {"reason": "Unavailable"}}]
    assert visitor.poll().status_code == 403


# --- texts ----------------------------------------------------------------------------------------------------------


def test_text_before_an_agent_is_there_is_500_and_not_lost_on_repeat(simulator: Simulator, visitor: Visitor) -> None:
    visitor.init()
    early = visitor.say("too early")
    assert (early.status_code, early.text) == (500, "Internal Server Error")
    simulator.accept()
    assert visitor.say("now").status_code == 200
    assert simulator.agent_texts("last") == ["now"]


def test_texts_reach_the_agent_in_order_with_their_numbers(simulator: Simulator, talking: Visitor) -> None:
    for text in ("one", "two", "three"):
        assert talking.say(text).status_code == 200
    assert simulator.agent_texts(talking.id) == ["one", "two", "three"]
    assert [entry.details["number"] for entry in simulator.entries("agent_text", talking.id)] == [2, 3, 4]


def test_repeated_number_is_answered_and_not_shown_again(simulator: Simulator, talking: Visitor) -> None:
    talking.say("once")
    assert talking.say("once", number=talking.number).status_code == 200
    assert simulator.agent_texts("last") == ["once"]
    assert simulator.entries("post_repeated")[0].details == {"number": 2, "same_body": True}


def test_repeated_number_is_409_where_that_is_wanted(simulator: Simulator, talking: Visitor) -> None:
    simulator.configure(repeated_number="refuse")
    talking.say("once")
    answer = talking.say("once", number=2)
    assert (answer.status_code, answer.text) == (409, "Out of sync Ack. Expected 2. Actual 2")


@pytest.mark.parametrize("number", [1, 4, 99])
def test_number_out_of_order_is_409_with_the_last_one_taken(
    simulator: Simulator, talking: Visitor, number: int
) -> None:
    talking.say("two")
    answer = talking.say("odd", number=number)
    assert (answer.status_code, answer.text) == (409, f"Out of sync Ack. Expected {number}. Actual 2")
    assert simulator.agent_texts("last") == ["two"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"text": 5}', b'{"text": ""}', b'{"text": null}', b'{"t": "x"}'])
def test_chat_message_without_text_is_400_and_names_the_property(talking: Visitor, body: bytes) -> None:
    answer = talking.http.post(f"{talking.rest}/Chasitor/ChatMessage", data=body, headers=talking.headers)
    assert answer.status_code == 400
    assert answer.json()["details"]


def test_end_without_a_reason_is_refused_in_live_agents_words(talking: Visitor) -> None:
    answer = talking.post("Chasitor/ChatEnd")
    assert answer.status_code == 400
    sentence = "Request is not a valid ChatEnd - ChatEnd requires a non-null value on the reason property"
    assert answer.json()["message"] == sentence


def test_several_nouns_use_one_number(simulator: Simulator, talking: Visitor) -> None:
    nouns = [{"prefix": "Chasitor", "noun": "ChatMessage", "object": {"text": text}} for text in ("one", "two")]
    assert talking.post("System/MultiNoun", {"nouns": nouns}).status_code == 200
    assert talking.say("three").status_code == 200
    assert simulator.agent_texts("last") == ["one", "two", "three"]


def test_burst_is_answered_200_and_partly_lost_when_that_is_simulated(simulator: Simulator, talking: Visitor) -> None:
    simulator.configure(burst_gap_s=30)
    assert [talking.say(text).status_code for text in ("one", "two")] == [200, 200]
    assert simulator.agent_texts("last") == ["one"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "Chasitor/Nonsense", 404), ("GET", "Chasitor/ChatMessage", 405), ("GET", "System/Nonsense", 404)],
)
def test_wrong_paths_and_methods_are_refused(talking: Visitor, method: str, path: str, status: int) -> None:
    assert talking.http.request(method, f"{talking.rest}/{path}", headers=talking.headers).status_code == status


# --- polls ----------------------------------------------------------------------------------------------------------


def test_poll_is_held_until_something_happens(simulator: Simulator, talking: Visitor) -> None:
    hold_longer(simulator)
    poll = talking.polling()
    wait_for_poll(simulator, talking)
    simulator.say("last", "Hola")
    message = poll.get(timeout=5).json()["messages"][0]
    assert (message["type"], message["message"]["text"]) == ("ChatMessage", "Hola")


def test_quiet_poll_ends_with_204_and_no_body(talking: Visitor) -> None:
    answer = talking.poll()
    assert (answer.status_code, answer.content) == (204, b"")


def test_batches_are_numbered_from_zero_and_their_offset_grows(simulator: Simulator, visitor: Visitor) -> None:
    visitor.init()
    first = visitor.poll().json()
    simulator.accept()
    second = visitor.poll().json()
    assert (first["sequence"], second["sequence"]) == (0, 1)
    assert second["offset"] > first["offset"] > 0


def test_batch_is_delivered_again_until_it_is_acked(simulator: Simulator, talking: Visitor) -> None:
    before = talking.ack
    simulator.say("last", "one")
    lost = talking.poll().json()
    simulator.say("last", "two")
    assert talking.poll(ack=before).json() == lost
    assert [message["message"]["text"] for message in talking.poll().json()["messages"]] == ["two"]


def test_ack_of_something_never_sent_is_refused(talking: Visitor) -> None:
    assert talking.poll(ack=7).status_code == 400


def test_overlapping_poll_ends_the_session_as_documented(simulator: Simulator, talking: Visitor) -> None:
    hold_longer(simulator)
    first = talking.polling()
    wait_for_poll(simulator, talking)
    assert talking.poll().status_code == 409
    assert first.get(timeout=5).status_code == 403
    assert talking.say("anyone?").status_code == 403
    assert simulator.overlapping_polls() == simulator.overlapping_polls("last") == 1


def test_overlapping_poll_is_only_refused_where_that_is_tolerated(simulator: Simulator, talking: Visitor) -> None:
    simulator.configure(second_poll="tolerate", hold_s=20)
    first = talking.polling()
    wait_for_poll(simulator, talking)
    assert talking.poll().status_code == 409
    simulator.say("last", "still here")
    assert first.get(timeout=5).status_code == 200


def abandon_a_poll(simulator: Simulator, visitor: Visitor) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in visitor.headers.items())
    with socket.create_connection(("127.0.0.1", simulator.port)) as connection:
        path = f"/liveagent/chat/rest/System/Messages?ack={visitor.ack}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        wait_for_poll(simulator, visitor)


def test_poll_whose_client_left_is_held_no_more(simulator: Simulator, talking: Visitor) -> None:
    hold_longer(simulator)
    abandon_a_poll(simulator, talking)
    simulator.wait_for(lambda: [entry.text for entry in simulator.entries("poll_ended", talking.id)][-1] == "left")
    simulator.say("last", "Hola")
    assert talking.events() == ["ChatMessage"]
    assert simulator.overlapping_polls() == 0


def test_poll_whose_client_left_still_counts_where_nobody_notices(simulator: Simulator, talking: Visitor) -> None:
    simulator.configure(notice_closed=False, second_poll="tolerate", hold_s=20)
    abandon_a_poll(simulator, talking)
    assert talking.poll().status_code == 409
    simulator.say("last", "lost once")
    simulator.wait_for(lambda: simulator.chat().poll is None)
    assert talking.events() == ["ChatMessage"]


# --- endings --------------------------------------------------------------------------------------------------------


def test_end_by_the_agent_is_delivered_and_then_the_session_is_gone(simulator: Simulator, talking: Visitor) -> None:
    simulator.say("last", "bye")
    simulator.end("last", reason="agent")
    refused = talking.say("wait")
    assert (refused.status_code, refused.text) == (403, LOST)
    messages = talking.poll().json()["messages"]
    assert [message["type"] for message in messages] == ["ChatMessage", "ChatEnded"]
    assert messages[1]["message"]["reason"] == "agent"
    assert talking.poll().status_code == 403


def test_end_by_the_visitor_ends_the_held_poll(simulator: Simulator, talking: Visitor) -> None:
    hold_longer(simulator)
    poll = talking.polling()
    wait_for_poll(simulator, talking)
    assert talking.post("Chasitor/ChatEnd", {"reason": "client"}).status_code == 200
    assert poll.get(timeout=5).json()["messages"][0]["message"]["reason"] == "client"
    assert simulator.chat().reason == "client"


def test_deleted_session_is_gone_at_once(simulator: Simulator, talking: Visitor) -> None:
    hold_longer(simulator)
    poll = talking.polling()
    wait_for_poll(simulator, talking)
    assert talking.delete().status_code == 200
    assert poll.get(timeout=5).status_code == 403
    assert talking.delete().status_code == 403


def test_raw_key_in_the_path_is_understood_too(talking: Visitor) -> None:
    url = f"{talking.rest}/System/SessionId/{talking.session['key']}"
    assert talking.http.delete(url, headers=talking.headers).status_code == 200


def test_session_expires_when_nobody_polls(simulator: Simulator) -> None:
    simulator.configure(expiry_s=0.2)
    visitor = Visitor(simulator.url)
    visitor.init()
    simulator.wait_for(lambda: simulator.entries("session_expired", visitor.id))
    assert visitor.poll().status_code == 403


def test_session_does_not_expire_while_a_poll_is_held(simulator: Simulator) -> None:
    simulator.configure(expiry_s=0.2, hold_s=0.6)
    visitor = Visitor(simulator.url)
    assert visitor.poll().status_code == 204


def test_failure_can_come_in_the_middle_of_a_talk(simulator: Simulator, talking: Visitor) -> None:
    simulator.fail("last", reason="InternalFailure")
    assert talking.poll().json()["messages"] == [{"type": "ChatRequestFail", "message": {"reason": "InternalFailure"}}]


# --- the agent ------------------------------------------------------------------------------------------------------


def test_chat_goes_from_agent_to_agent_and_through_a_queue(simulator: Simulator, talking: Visitor) -> None:
    simulator.transfer("last", name="Luis")
    simulator.transfer("last", to_queue=True)
    simulator.accept("last", name="Marta")
    simulator.disconnect("last")
    messages = talking.poll().json()["messages"]
    assert [message["type"] for message in messages] == [
        "ChatTransferred",
        "TransferToButtonInitiated",
        "ChatTransferred",
        "AgentDisconnect",
    ]
    assert talking.say("anyone?").status_code == 200


def test_visitor_moves_in_the_queue(simulator: Simulator, visitor: Visitor) -> None:
    visitor.init()
    visitor.poll()
    simulator.queue_update("last", position=3, wait_s=120)
    moved = visitor.poll().json()["messages"][0]
    assert moved == {"type": "QueueUpdate", "message": {"position": 3, "estimatedWaitTime": 120}}


def test_agent_who_asked_for_a_file_gets_it_once(simulator: Simulator, talking: Visitor) -> None:
    token = simulator.request_file("last")
    asked = talking.poll().json()["messages"][0]["message"]
    assert (asked["type"], asked["fileToken"]) == ("Requested", token)
    query = {"orgId": IDENTITIES.organization_id, "chatKey": talking.id, "fileToken": token, "encoding": "UTF-8"}
    files = {"file": ("photo.png", b"\x89PNG", "image/png")}
    answers = [requests.post(asked["uploadServletUrl"], params=query, files=files) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 403]
    assert talking.poll().json()["messages"][0]["message"]["type"] == "Success"


# --- the repair -----------------------------------------------------------------------------------------------------


def test_reconnect_is_refused_while_nothing_is_broken(talking: Visitor) -> None:
    assert talking.reconnect().status_code == 405


def test_other_affinity_is_503(talking: Visitor) -> None:
    talking.affinity = "other"
    assert talking.poll().status_code == 503
    assert talking.say("x").status_code == 503
    assert talking.reconnect().status_code == 200


def test_broken_session_goes_on_after_reconnect_data_and_resync(simulator: Simulator, talking: Visitor) -> None:
    talking.say("before")
    simulator.say("last", "heard")
    talking.poll()
    simulator.break_session("last")
    assert [talking.say("x").status_code, talking.poll().status_code] == [503, 503]
    simulator.say("last", "unheard")
    simulator.transfer("last", name="Luis")
    old = talking.affinity
    assert talking.reconnect().status_code == 200
    assert talking.affinity != old
    assert talking.resync().status_code == 500
    data, transferred = talking.poll(ack=-1).json()["messages"]
    lines = [(line["type"], line["content"]) for line in data["message"]["chatMessages"]]
    assert data["type"] == "ChasitorSessionData"
    assert lines == [("Chasitor", "before"), ("Agent", "heard"), ("Agent", "unheard"), ("OperatorTransferred", "")]
    assert transferred["type"] == "ChatTransferred"
    assert talking.say("too early").status_code == 500
    assert talking.resync().status_code == 200
    assert talking.say("after").status_code == 200
    assert simulator.agent_texts("last") == ["before", "after"]
    assert simulator.entries("agent_text")[-1].details == {"number": 1}


def test_event_in_a_batch_that_was_never_received_comes_after_the_data(simulator: Simulator, visitor: Visitor) -> None:
    visitor.init()
    visitor.poll()
    offset = visitor.offset
    simulator.accept()
    visitor.poll()
    simulator.break_session()
    visitor.poll()
    assert visitor.reconnect(offset).status_code == 200
    visitor.ack = -1
    assert visitor.events() == ["ChasitorSessionData", "ChatEstablished"]


def test_held_poll_ends_with_503_when_the_session_breaks(simulator: Simulator, talking: Visitor) -> None:
    hold_longer(simulator)
    poll = talking.polling()
    wait_for_poll(simulator, talking)
    simulator.break_session()
    assert poll.get(timeout=5).status_code == 503


def test_resync_with_a_number_is_refused(simulator: Simulator, talking: Visitor) -> None:
    simulator.break_session()
    talking.poll()
    talking.reconnect()
    talking.poll(ack=-1)
    assert talking.resync(**{"X-LIVEAGENT-SEQUENCE": "1"}).status_code == 400


def test_injected_503_lets_the_session_reconnect(simulator: Simulator, talking: Visitor) -> None:
    simulator.add_fault("*/System/Messages", status=503)
    assert talking.poll().status_code == 503
    assert talking.reconnect().status_code == 200


# --- visitors -------------------------------------------------------------------------------------------------------


def availability(simulator: Simulator, **changes: str) -> requests.Response:
    query = {
        "org_id": IDENTITIES.organization_id,
        "deployment_id": IDENTITIES.deployment_id,
        "Availability.ids": f"[{IDENTITIES.button_id},573000000000002]",
    }
    url = f"{simulator.url}/liveagent/chat/rest/Visitor/Availability"
    return requests.get(url, params=query | changes, headers={"X-LIVEAGENT-API-VERSION": "48"})


def test_a_closed_button_is_missing_from_the_availability(simulator: Simulator) -> None:
    simulator.configure(closed_buttons=["573000000000002"])
    results = availability(simulator).json()["messages"][0]["message"]["results"]
    assert [result.get("isAvailable", False) for result in results] == [True, False]
    assert "isAvailable" not in results[1]


def test_a_moved_org_answers_switch_server(simulator: Simulator) -> None:
    simulator.configure(switch_server="https://d.la2.example/chat")
    message = availability(simulator).json()["messages"][0]
    assert message == {"type": "SwitchServer", "message": {"newUrl": "https://d.la2.example/chat"}}


def test_foreign_org_is_refused(simulator: Simulator) -> None:
    assert availability(simulator, org_id="00D999999999999").status_code == 400
