"""The simulator's other neighbours, its faults, its control API and its ledger, over real sockets."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import requests
from simulator_visitor import IDENTITIES, Visitor

from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

WA = f"/integrations/api/{IDENTITIES.wa_channel}/bots/{IDENTITIES.wa_bot}"
FB = f"/integrations/api/{IDENTITIES.fb_channel}/bots/{IDENTITIES.fb_bot}"
USER = "5215573735001"
MESSENGER = {
    "messaging_type": "RESPONSE",
    "recipient": {"id": USER},
    "message": {"text": "Hola"},
    "metadata": "YALOSOURCE:FIREHOSE",
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(hold_s=0.3) as running:
        yield running


@pytest.fixture
def chatting(simulator: Simulator) -> Visitor:
    visitor = Visitor(simulator.url)
    assert visitor.init().status_code == 200
    return visitor


def call(simulator: Simulator, method: str, path: str, body: Any = None, token: str = "") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, simulator.url + path, json=body, headers=headers, timeout=10)


def whatsapp(text: str = "Hola", **changes: Any) -> dict[str, Any]:
    return {"id": "m1", "type": "text", "userId": USER, "text": {"body": text}} | changes


def to_user(simulator: Simulator, body: dict[str, Any]) -> requests.Response:
    return call(simulator, "POST", f"{WA}/messages", body, IDENTITIES.wa_token)


# --- integrations ---------------------------------------------------------------------------------------------------


def test_text_reaches_a_whatsapp_user(simulator: Simulator) -> None:
    answer = to_user(simulator, whatsapp())
    assert answer.status_code == 200
    assert answer.json()["messages"][0]["id"]
    assert simulator.user_texts(USER) == ["Hola"]


def test_repeated_delivery_is_taken_and_marked(simulator: Simulator) -> None:
    for body in (whatsapp("one"), whatsapp("one"), whatsapp("two", id="m2")):
        assert to_user(simulator, body).status_code == 200
    assert simulator.user_texts(USER) == ["one", "two"]
    assert simulator.user_texts(USER, repeats=True) == ["one", "one", "two"]
    assert [entry.repeat for entry in simulator.entries("user_text", USER)] == [False, True, False]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"userId": ""},
        {"userId": 5},
        {"type": "sticker"},
        {"text": None},
        {"text": {"body": ""}},
        {"text": {"body": "x" * 4097}},
        {"type": "image"},
        {"image": {"url": "http://x/y"}},
        {"surprise": 1},
    ],
)
def test_whatsapp_body_is_checked(simulator: Simulator, changes: dict[str, Any]) -> None:
    assert to_user(simulator, whatsapp(**changes)).status_code == 400
    assert simulator.user_texts(USER) == []


def test_image_reaches_a_whatsapp_user(simulator: Simulator) -> None:
    image = {"id": "m1", "type": "image", "userId": USER, "image": {"url": "http://x/y.png", "caption": "z"}}
    assert to_user(simulator, image).status_code == 200
    assert simulator.user_texts(USER) == ["http://x/y.png"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"messaging_type": "UPDATE"}, 400),
        ({"metadata": "x"}, 400),
        ({"message": {"text": "x" * 2001}}, 400),
        ({"recipient": {"id": ""}}, 400),
        ({"id": "m1"}, 400),
    ],
)
def test_messenger_body_is_checked(simulator: Simulator, changes: dict[str, Any], status: int) -> None:
    answer = call(simulator, "POST", f"{FB}/messages", MESSENGER | changes, IDENTITIES.fb_token)
    assert answer.status_code == status
    assert simulator.user_texts(USER) == (["Hola"] if status == 200 else [])


@pytest.mark.parametrize(("token", "status"), [("", 401), ("wrong", 401), (IDENTITIES.fb_token, 401)])
def test_wrong_bearer_is_refused(simulator: Simulator, token: str, status: int) -> None:
    assert call(simulator, "POST", f"{WA}/messages", whatsapp(), token).status_code == status


def test_unknown_bot_is_refused(simulator: Simulator) -> None:
    path = f"/integrations/api/{IDENTITIES.wa_channel}/bots/other/messages"
    assert call(simulator, "POST", path, whatsapp(), IDENTITIES.wa_token).status_code == 404


def test_webhook_is_registered_and_removed(simulator: Simulator) -> None:
    webhook = "http://bridge.example/v1/integrations/facebook/webhook"
    body = {"phone": "100", "webhook": webhook, "provider": "facebook", "version": 3}
    answer = call(simulator, "POST", f"{FB}/healthcheck", body, IDENTITIES.fb_token)
    expected = {"bot_id": IDENTITIES.fb_bot, "channel": IDENTITIES.fb_channel, "webhook": webhook}
    assert (answer.status_code, answer.json()) == (201, expected)
    assert simulator.integrations.webhooks == {"facebook": webhook}
    removal = {"phone": "100", "provider": "facebook"}
    assert call(simulator, "POST", f"{FB}/remove", removal, IDENTITIES.fb_token).status_code == 204
    assert simulator.integrations.webhooks == {}


def test_webhook_of_the_wrong_version_is_refused(simulator: Simulator) -> None:
    webhook = "http://bridge.example/v1/integrations/whatsapp/webhook"
    body = {"phone": "100", "webhook": webhook, "provider": "whatsapp", "version": 3}
    assert call(simulator, "POST", f"{WA}/healthcheck", body, IDENTITIES.wa_token).status_code == 400


# --- the bot flow ---------------------------------------------------------------------------------------------------


def test_both_bot_flows_take_states(simulator: Simulator) -> None:
    state = {"userId": USER, "state": "finished", "message": ""}
    assert call(simulator, "POST", "/botrunner/coppel-bot/send-to", state).status_code == 200
    studio = call(simulator, "POST", "/studio/v1/triggers/timed-out/webhook", {"userId": USER}, "studio-token")
    assert studio.status_code == 200
    assert simulator.bot_states(USER) == ["finished", "timed-out"]


def test_bot_flow_checks_body_and_token(simulator: Simulator) -> None:
    state = {"userId": USER, "state": "finished"}
    assert call(simulator, "POST", "/botrunner/coppel-bot/send-to", state).status_code == 400
    simulator.configure(botrunner_token="secret")
    good = state | {"message": ""}
    assert call(simulator, "POST", "/botrunner/coppel-bot/send-to", good).status_code == 401
    assert call(simulator, "POST", "/botrunner/coppel-bot/send-to?jwt=secret", good).status_code == 200
    assert call(simulator, "POST", "/studio/v1/triggers/x/webhook", {"userId": USER}, "wrong").status_code == 401
    assert simulator.bot_states(USER) == ["finished"]


# --- media ----------------------------------------------------------------------------------------------------------


def test_media_host_serves_what_it_is_given(simulator: Simulator) -> None:
    assert requests.get(f"{simulator.url}/media/photo.png").headers["Content-Type"] == "image/png"
    simulator.add_file("note.txt", b"hello", content_type="text/plain")
    moved = simulator.add_file("moved", redirect=f"{simulator.url}/media/note.txt")
    assert requests.get(moved).text == "hello"
    assert requests.get(moved, allow_redirects=False).status_code == 302
    assert requests.get(simulator.add_file("gone", status=410)).status_code == 410
    assert requests.get(f"{simulator.url}/media/nothing").status_code == 404


def test_media_host_streams_more_than_it_says(simulator: Simulator) -> None:
    url = simulator.add_file("endless", b"x" * 1000, repeat=50, chunk_bytes=500)
    answer = requests.get(url)
    assert len(answer.content) == 50_000
    assert "Content-Length" not in answer.headers


def test_file_is_put_by_http(simulator: Simulator) -> None:
    put = requests.put(f"{simulator.url}/control/media/a.bin", data=b"abc", headers={"Content-Type": "image/gif"})
    fetched = requests.get(put.json()["url"])
    assert (fetched.content, fetched.headers["Content-Type"]) == (b"abc", "image/gif")


# --- faults ---------------------------------------------------------------------------------------------------------


def test_fault_answers_without_acting_as_often_as_it_is_told(simulator: Simulator) -> None:
    fault = simulator.add_fault("/integrations/*", status=503, headers={"Retry-After": "2"}, body="busy", times=2)
    answers = [to_user(simulator, whatsapp()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (answers[0].headers["Retry-After"], answers[0].text) == ("2", "busy")
    assert simulator.user_texts(USER) == ["Hola"]
    assert fault.hits == 2
    assert simulator.requests("/messages", status=503) == 2


def test_fault_can_act_and_still_say_that_it_failed(simulator: Simulator) -> None:
    simulator.add_fault("*/messages", status=500, act=True)
    assert to_user(simulator, whatsapp()).status_code == 500
    assert simulator.user_texts(USER) == ["Hola"]


@pytest.mark.parametrize(("when", "texts"), [("before", []), ("after", ["Hola"])])
def test_dropped_connection_gives_no_answer(simulator: Simulator, when: str, texts: list[str]) -> None:
    simulator.add_fault("*/messages", drop=when)
    with pytest.raises(requests.ConnectionError):
        to_user(simulator, whatsapp())
    assert simulator.user_texts(USER) == texts
    assert to_user(simulator, whatsapp(id="m2")).status_code == 200


def test_garbage_is_no_json_and_no_utf8(simulator: Simulator) -> None:
    simulator.add_fault("*/messages", garbage=True)
    answer = to_user(simulator, whatsapp())
    assert answer.status_code == 200
    with pytest.raises(UnicodeDecodeError):
        answer.content.decode()
    assert simulator.user_texts(USER) == ["Hola"]


def test_fault_can_be_meant_for_one_user_one_method_and_a_later_time(simulator: Simulator) -> None:
    simulator.add_fault("*/messages", method="POST", contains="other", skip=1, status=500)
    other = whatsapp(userId="other")
    statuses = [to_user(simulator, body).status_code for body in (other, whatsapp(), other, other)]
    assert statuses == [200, 200, 500, 200]


def test_fault_can_be_meant_for_one_session(simulator: Simulator, chatting: Visitor) -> None:
    other = Visitor(simulator.url, "Other")
    simulator.add_fault("*", session=chatting.id, status=500, times=0)
    assert other.poll().status_code == 204
    assert chatting.poll().status_code == 500


def test_a_delayed_answer_is_late(simulator: Simulator) -> None:
    simulator.add_fault("*/messages", delay_s=5)
    with pytest.raises(requests.Timeout):
        requests.post(f"{simulator.url}{WA}/messages", json=whatsapp(), timeout=0.2)
    assert simulator.user_texts(USER) == []


def test_batch_that_was_lost_on_the_way_comes_again(simulator: Simulator, chatting: Visitor) -> None:
    simulator.add_fault("*/System/Messages", drop="after")
    with pytest.raises(requests.ConnectionError):
        chatting.poll()
    assert chatting.events() == ["ChatRequestSuccess"]


def test_faults_are_armed_and_disarmed_by_http(simulator: Simulator) -> None:
    armed = call(simulator, "POST", "/control/faults", {"path": "*/messages", "status": 500, "times": 0})
    assert armed.status_code == 201
    assert to_user(simulator, whatsapp()).status_code == 500
    assert len(call(simulator, "GET", "/control/faults").json()["faults"]) == 1
    assert call(simulator, "DELETE", f"/control/faults/{armed.json()['id']}").status_code == 200
    assert to_user(simulator, whatsapp()).status_code == 200
    assert call(simulator, "POST", "/control/faults", {"path": "*", "statsu": 500}).status_code == 400


# --- the agent by HTTP ----------------------------------------------------------------------------------------------


def test_agent_is_moved_by_http(simulator: Simulator, chatting: Visitor) -> None:
    acts: list[tuple[str, dict[str, Any]]] = [
        ("queue-update", {"position": 2, "wait_s": 60}),
        ("accept", {"name": "Berta"}),
        ("type", {}),
        ("say", {"text": "Hola"}),
        ("event", {"type": "RichMessage", "message": {"items": []}}),
        ("transfer", {"name": "Luis"}),
        ("end", {"reason": "agent"}),
    ]
    for act, body in acts:
        answer = call(simulator, "POST", f"/control/chats/{chatting.name}/{act}", body)
        assert answer.status_code == 200, answer.text
    assert chatting.events() == [
        "ChatRequestSuccess",
        "QueueUpdate",
        "ChatEstablished",
        "AgentTyping",
        "ChatMessage",
        "RichMessage",
        "ChatTransferred",
        "ChatEnded",
    ]


def test_agent_is_told_what_cannot_be_done(simulator: Simulator, chatting: Visitor) -> None:
    assert call(simulator, "POST", "/control/chats/nobody/accept").status_code == 404
    assert call(simulator, "POST", "/control/chats/last/say", {"text": "x"}).status_code == 409
    assert call(simulator, "POST", "/control/chats/last/dance").status_code == 404
    assert call(simulator, "POST", "/control/chats/last/say", {"words": "x"}).status_code == 400
    assert call(simulator, "POST", "/control/chats/last/accept").status_code == 200
    assert call(simulator, "POST", "/control/chats/last/accept").status_code == 409


def test_chat_is_found_by_everything_that_names_it(simulator: Simulator) -> None:
    contact = simulator.seed_contact(LastName="Ochoa", Email="o@example.com", MobilePhone="5573735001")
    visitor = Visitor(simulator.url)
    body = visitor.init_body()
    body["prechatDetails"][1]["value"] = contact
    visitor.post("Chasitor/ChasitorInit", body)
    names = (visitor.id, "last", "Eduardo Ochoa", contact, "5005K0000000001", "o@example.com", "5573735001")
    found = [call(simulator, "GET", f"/control/chats/{name}").json()["session"] for name in names]
    assert found == [visitor.id] * len(names)


def test_chats_are_listed_with_their_state_and_texts(simulator: Simulator, chatting: Visitor) -> None:
    simulator.accept()
    chatting.say("Hola")
    chat = call(simulator, "GET", "/control/chats?status=active").json()["chats"][0]
    assert (chat["visitor"], chat["status"], chat["agent"]) == ("Eduardo Ochoa", "active", "Ana")
    assert chat["prechat"] == {"CaseId": "5005K0000000001", "ContactId": "0035K0000000001"}
    assert [line["content"] for line in chat["transcript"]] == ["Hola"]


def test_chats_are_accepted_and_echoed_by_themselves(simulator: Simulator) -> None:
    assert call(simulator, "PATCH", "/control/settings", {"auto_accept": True, "echo": True}).status_code == 200
    visitor = Visitor(simulator.url)
    visitor.init()
    visitor.say("Hola")
    assert visitor.events() == ["ChatRequestSuccess", "ChatEstablished", "ChatMessage"]


def test_wrong_setting_changes_nothing(simulator: Simulator) -> None:
    body = {"hold_s": 7, "second_poll": "perhaps"}
    assert call(simulator, "PATCH", "/control/settings", body).status_code == 400
    assert simulator.settings.hold_s == 0.3


def test_contacts_are_seeded_and_records_read_by_http(simulator: Simulator) -> None:
    seeded = call(simulator, "POST", "/control/contacts", {"LastName": "Paz", "blocked": True})
    assert seeded.status_code == 201
    record = call(simulator, "GET", "/control/records/contact").json()["records"][0]
    assert (record["Id"], record["CP_BlockedChatYalo__c"]) == (seeded.json()["id"], True)
    assert call(simulator, "POST", "/control/contacts", {"LastName": "Paz", "Nonsense": 1}).status_code == 400


# --- the ledger -----------------------------------------------------------------------------------------------------


def test_ledger_keeps_the_order_of_everything(simulator: Simulator, chatting: Visitor) -> None:
    simulator.accept()
    chatting.say("Hola")
    to_user(simulator, whatsapp("Buenas"))
    entries = call(simulator, "GET", "/control/ledger").json()["entries"]
    kinds = [entry["kind"] for entry in entries]
    assert kinds == [
        "session_opened",
        "chat_requested",
        "chat_queued",
        "chat_established",
        "agent_text",
        "user_text",
    ]
    assert [entry["number"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    texts = call(simulator, "GET", f"/control/ledger?kind=user_text&name={USER}").json()["entries"]
    assert [entry["text"] for entry in texts] == ["Buenas"]


def test_events_are_followed_by_another_process(simulator: Simulator) -> None:
    follower = gevent.spawn(call, simulator, "GET", "/control/events?after=0&wait_s=10")
    simulator.wait_for(lambda: simulator.ledger._waiting)
    to_user(simulator, whatsapp())
    followed = follower.get(timeout=5).json()
    assert [entry["kind"] for entry in followed["entries"]] == ["user_text"]
    assert call(simulator, "GET", "/control/events?after=1&wait_s=0").json() == {"entries": [], "last": 1}


def test_waiting_ends_as_soon_as_it_is_true_and_says_why_not(simulator: Simulator) -> None:
    gevent.spawn(to_user, simulator, whatsapp())
    assert simulator.wait_for(lambda: simulator.user_texts(USER), 5) == ["Hola"]
    with pytest.raises(TimeoutError, match="user_text"):
        simulator.wait_for(lambda: simulator.user_texts("nobody"), 0.05)


def test_old_entries_are_forgotten_and_numbers_go_on() -> None:
    with Simulator(ledger_limit=10) as simulator:
        for number in range(25):
            simulator.ledger.record("bot_state", user=USER, text=str(number))
        assert simulator.ledger.last_number() == 25
        assert [entry.number for entry in simulator.ledger.since(23)] == [24, 25]
        assert len(simulator.ledger.since(0)) <= 10


# --- running --------------------------------------------------------------------------------------------------------


def test_stopped_simulator_is_down_and_comes_back_on_its_port(simulator: Simulator, chatting: Visitor) -> None:
    assert chatting.events() == ["ChatRequestSuccess"]
    simulator.configure(hold_s=30)
    poll = chatting.polling()
    simulator.wait_for(lambda: simulator.chat().poll is not None)
    simulator.stop()
    with pytest.raises(requests.ConnectionError):
        poll.get(timeout=5)
    with pytest.raises(requests.ConnectionError):
        chatting.say("x")
    simulator.start()
    simulator.accept(chatting.id)
    assert chatting.events() == ["ChatEstablished"]


def test_guide_names_every_act(simulator: Simulator) -> None:
    guide = call(simulator, "GET", "/control").json()
    for line in guide:
        path = line.split()[1].split("?")[0]
        assert call(simulator, "OPTIONS", re.sub(r"\{\w+\}", "1", path)).status_code == 200, line


def test_process_prints_its_address_and_ends_politely() -> None:
    command = [sys.executable, "-m", "bridge.ops.simulator", "--port", "0", "--hold-s", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert requests.get(f"{url}/control/settings").json()["hold_s"] == 0.2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_sandbox_and_simulator_know_each_other(simulator: Simulator) -> None:
    environ = {name.rsplit("INTEGRATION_", 1)[-1]: value for name, value in sandbox_environ(simulator.url).items()}
    ours = simulator.settings
    shared = {
        "SFC_CLIENT_ID": ours.client_id,
        "SFC_CLIENT_SECRET": ours.client_secret,
        "SFC_USERNAME": ours.username,
        "SFC_PASSWORD": ours.password,
        "SFC_SECURITY_TOKEN": ours.security_token,
        "SFC_ORGANIZATION_ID": ours.organization_id,
        "SFC_DEPLOYMENT_ID": ours.deployment_id,
        "INTEGRATIONS_WA_BOT_ID": ours.wa_bot,
        "INTEGRATIONS_WA_BOT_JWT": ours.wa_token,
        "INTEGRATIONS_FB_BOT_ID": ours.fb_bot,
        "INTEGRATIONS_FB_BOT_JWT": ours.fb_token,
    }
    assert {name: environ[name] for name in shared} == shared
