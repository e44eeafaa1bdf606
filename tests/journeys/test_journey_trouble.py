"""Neighbours that are slow, down, wrong or gone: every text arrives all the same, once, in order."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from personas import WAIT, Bot, BotUser, MessengerUser, together

from bridge.ops.simulator import Simulator

LONG_S = 25.0
NOUN = "*/Chasitor/ChatMessage"
POLL = "*/System/Messages"
MESSAGES = "/integrations/*/messages"


def end_well(user: BotUser) -> None:
    """The chat still works to its end."""
    user.agent.end()
    user.must_go_back("from-sf-success", timeout_s=LONG_S)


# --- the poll ---------------------------------------------------------------------------------------------------------

POLL_FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "times": 2},
    "502": {"status": 502, "times": 2},
    "409": {"status": 409, "body": "Duplicate Long Polling", "times": 2},
    "garbage": {"garbage": True, "times": 2},
    "a_body_that_is_no_object": {"status": 200, "body": "[1, 2]", "times": 2},
    "dropped_before": {"drop": "before", "times": 2},
    "dropped_after": {"drop": "after", "times": 2},
    "200_but_empty": {"status": 200, "body": "{}", "times": 2},
}


def test_a_failed_poll_loses_and_repeats_no_text(simulator: Simulator, bot: Bot) -> None:
    def journey(user: BotUser, fault: dict[str, Any]) -> None:
        user.talk()
        armed = simulator.add_fault(POLL, session=user.agent.session, **fault)
        user.agent.say("uno", "dos")
        simulator.wait_for(lambda: armed.hits == 2, LONG_S)
        user.agent.say("tres")
        user.must_read(WAIT, "uno", "dos", "tres", timeout_s=LONG_S)
        end_well(user)
        assert simulator.user_texts(user.id, repeats=True) == [WAIT, "uno", "dos", "tres"]

    together({name: partial(journey, bot.new_user(), fault) for name, fault in POLL_FAULTS.items()})


def test_the_chat_goes_on_after_polls_that_brought_nothing(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    empty = [e for e in user.agent.entries("poll_ended") if e.text == "empty"]
    simulator.wait_for(
        lambda: len([e for e in user.agent.entries("poll_ended") if e.text == "empty"]) > len(empty), LONG_S
    )
    user.agent.say("sigo aquí")
    user.must_read(WAIT, "sigo aquí")


def test_unknown_and_malformed_events_do_not_end_the_chat(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    for kind, message in (
        ("RichMessage", {"type": "ChatWindowMenu", "items": [{"text": "Sí"}]}),
        ("AgentJoinedConference", {"agentName": "Luis"}),
        ("AsyncResult", {"isError": False}),
        ("NewVisitorBreadcrumb", {"location": "https://example.com"}),
        ("CustomEvent", {"type": "x", "data": "y"}),
        ("SomethingFromTheFuture", {"deep": [[[{}]]]}),
        ("ChatMessage", {"text": None}),
        ("ChatMessage", {"text": 42, "name": []}),
        ("QueueUpdate", {"position": "first", "estimatedWaitTime": None}),
        ("ChatTransferred", {"name": None}),
        ("", {}),
    ):
        simulator.send_event(user.agent.who, kind, message)
    user.agent.say("uno", "dos")
    simulator.wait_for(lambda: user.read()[-1] == "dos", LONG_S)
    assert [text for text in user.read() if text in ("uno", "dos")] == ["uno", "dos"]
    user.say("tres")
    user.agent.must_read("tres")
    end_well(user)


# --- texts to the agent -----------------------------------------------------------------------------------------------

POST_FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "times": 2},
    "502": {"status": 502},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "dropped_before": {"drop": "before"},
    "dropped_after": {"drop": "after"},
    "502_after_acting": {"status": 502, "act": True},
    "garbage": {"garbage": True},
}


@pytest.mark.parametrize("repeated", ["accept", "refuse"])
def test_a_text_that_fails_is_sent_again_under_its_number_and_read_once(
    simulator: Simulator, bot: Bot, repeated: str
) -> None:
    def journey(user: BotUser, fault: dict[str, Any]) -> None:
        user.talk()
        user.say("antes")
        user.agent.must_read("antes")
        armed = simulator.add_fault(NOUN, session=user.agent.session, **fault)
        for text in ("uno", "dos", "tres"):
            user.say(text)
        user.agent.must_read("antes", "uno", "dos", "tres", timeout_s=LONG_S)
        assert armed.hits == fault.get("times", 1)
        assert user.agent.numbers() == [2, 3, 4, 5, 6]
        end_well(user)

    simulator.configure(repeated_number=repeated)
    together({name: partial(journey, bot.new_user(), fault) for name, fault in POST_FAULTS.items()})


def test_a_sequence_number_that_the_desk_does_not_expect_is_corrected(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.chat(user.agent.who).number = 7
    user.say("uno")
    user.say("dos")
    user.agent.must_read("uno", "dos", timeout_s=LONG_S)
    assert user.agent.numbers()[-2:] == [8, 9]


def test_a_text_that_the_desk_refuses_for_good_does_not_delay_the_others(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.add_fault(NOUN, session=user.agent.session, contains="imposible", status=400, times=0)
    user.say("uno")
    user.say("imposible")
    user.say("dos")
    user.agent.must_read("uno", "dos", timeout_s=LONG_S)
    end_well(user)


def test_the_user_learns_of_a_text_that_the_desk_refuses_for_good(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.add_fault(NOUN, session=user.agent.session, contains="imposible", status=400, times=0)
    user.say("imposible")
    user.say("dos")
    user.agent.must_read("dos", timeout_s=LONG_S)
    user.must_read(WAIT, "Tu mensaje no pudo ser entregado al agente. Envíalo de nuevo, por favor.", timeout_s=1)


# --- the session moves ------------------------------------------------------------------------------------------------


def test_a_broken_session_is_repaired_and_nothing_is_lost_or_said_twice(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    user.say("antes")
    user.agent.must_read("antes")
    user.agent.say("antes")
    user.must_read(WAIT, "antes")
    simulator.break_session(user.agent.who)
    user.say("durante 1")
    user.agent.say("durante 1")
    user.say("durante 2")
    user.agent.say("durante 2")
    user.agent.must_read("antes", "durante 1", "durante 2", timeout_s=LONG_S)
    user.must_read(WAIT, "antes", "durante 1", "durante 2", timeout_s=LONG_S)
    assert len(user.agent.entries("session_resynced")) == 1
    user.say("después")
    user.agent.say("después")
    user.agent.must_read("antes", "durante 1", "durante 2", "después", timeout_s=LONG_S)
    user.must_read(WAIT, "antes", "durante 1", "durante 2", "después", timeout_s=LONG_S)
    end_well(user)


def test_a_batch_that_was_taken_and_not_confirmed_before_the_session_moved_is_not_said_twice(
    simulator: Simulator, user: BotUser
) -> None:
    simulator.configure(reconnect_repeats=True)
    user.talk()
    moved = simulator.add_fault("*/System/Messages", session=user.agent.session, status=503)
    user.agent.say("despierta")
    simulator.wait_for(lambda: user.agent.entries("session_resynced"), LONG_S)
    assert moved.hits == 1
    user.agent.say("tras 503")
    user.must_read(WAIT, "despierta", "tras 503", timeout_s=LONG_S)
    end_well(user)


def test_a_503_to_a_text_repairs_the_session_and_the_texts_keep_their_order(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    armed = simulator.add_fault(NOUN, session=user.agent.session, status=503, body="Invalid Affinity Token")
    for text in ("uno", "dos", "tres"):
        user.say(text)
    user.agent.must_read("uno", "dos", "tres", timeout_s=LONG_S)
    assert armed.hits == 1
    user.agent.say("los leí")
    user.must_read(WAIT, "los leí", timeout_s=LONG_S)
    end_well(user)


def test_a_text_that_was_taken_before_the_session_broke_is_not_said_twice(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.add_fault(NOUN, session=user.agent.session, status=503, act=True)
    for text in ("uno", "dos", "tres"):
        user.say(text)
    user.agent.must_read("uno", "dos", "tres", timeout_s=LONG_S)
    end_well(user)
    assert user.agent.read_of_user() == ["uno", "dos", "tres"]


def test_a_session_that_breaks_on_hold_is_repaired_and_the_agent_still_comes(
    simulator: Simulator, user: BotUser
) -> None:
    user.wait_on_hold()
    simulator.break_session(user.agent.who)
    user.say("sigo esperando")
    simulator.wait_for(lambda: user.agent.entries("session_resynced"), LONG_S)
    user.agent.accept()
    user.agent.must_read("sigo esperando", timeout_s=LONG_S)
    assert user.read() == [WAIT]
    end_well(user)


def test_a_repair_that_fails_at_first_is_tried_again(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    for path in ("*/System/ReconnectSession", "*/Chasitor/ChasitorResyncState"):
        simulator.add_fault(path, session=user.agent.session, status=500)
    simulator.break_session(user.agent.who)
    user.say("uno")
    user.agent.say("uno")
    user.agent.must_read("uno", timeout_s=LONG_S)
    user.must_read(WAIT, "uno", timeout_s=LONG_S)
    end_well(user)


def test_a_session_may_break_more_than_once(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    for number in range(3):
        simulator.break_session(user.agent.who)
        user.say(f"texto {number}")
        user.agent.say(f"texto {number}")
        user.agent.must_read(*(f"texto {each}" for each in range(number + 1)), timeout_s=LONG_S)
        user.must_read(WAIT, *(f"texto {each}" for each in range(number + 1)), timeout_s=LONG_S)
    end_well(user)


def test_a_chat_that_ended_while_its_session_was_broken_is_a_success(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.break_session(user.agent.who)
    user.agent.say("adiós")
    user.agent.end()
    user.must_go_back("from-sf-success", timeout_s=LONG_S)
    assert user.read() == [WAIT, "adiós"]


def test_a_chat_is_finished_though_its_session_is_broken(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.break_session(user.agent.who)
    user.finish()
    user.must_go_back("from-sf-success", timeout_s=LONG_S)


def test_a_chat_that_is_finished_as_its_session_breaks_ends_for_the_agent_too(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    simulator.add_fault("*/Chasitor/ChatEnd", session=user.agent.session, status=503, body="Invalid Affinity Token")
    user.finish()
    user.must_go_back("from-sf-success", timeout_s=LONG_S)
    simulator.wait_for(lambda: user.agent.status == "ended", 1)


def test_a_chat_that_cannot_be_polled_any_more_ends_for_the_agent_too(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.add_fault(POLL, session=user.agent.session, status=404, times=0)
    user.agent.say("nadie lo lee")
    user.must_go_back("from-sf-timeout", timeout_s=LONG_S)
    simulator.wait_for(lambda: user.agent.status == "ended", 1)


# --- leaving ----------------------------------------------------------------------------------------------------------


END_FAULTS: dict[str, dict[str, Any]] = {"500": {"status": 500, "times": 0}, "dropped_after": {"drop": "after"}}


@pytest.mark.parametrize("fault", END_FAULTS.values(), ids=END_FAULTS.keys())
def test_a_chat_whose_end_the_desk_does_not_take_is_ended_by_its_session(
    simulator: Simulator, user: BotUser, fault: dict[str, Any]
) -> None:
    user.talk()
    simulator.add_fault("*/Chasitor/ChatEnd", session=user.agent.session, **fault)
    user.finish()
    user.must_go_back("from-sf-success", timeout_s=LONG_S)
    assert user.agent.status == "ended"


# --- the user's side --------------------------------------------------------------------------------------------------


def test_while_the_channel_is_down_the_agents_texts_wait_in_order_and_arrive_once(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    down = simulator.add_fault(MESSAGES, contains=user.id, status=503, times=0)
    user.agent.say("uno", "dos", "tres")
    simulator.wait_for(lambda: down.hits >= 2, LONG_S)
    user.say("¿hola?")
    user.agent.must_read("¿hola?")
    assert user.read() == [WAIT]
    simulator.faults.clear()
    user.must_read(WAIT, "uno", "dos", "tres", timeout_s=LONG_S)
    end_well(user)
    assert user.simulator.user_texts(user.id, repeats=True) == [WAIT, "uno", "dos", "tres"]


def test_the_bot_is_told_only_after_the_channel_took_the_agents_last_words(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    down = simulator.add_fault(MESSAGES, contains=user.id, drop="before", times=0)
    user.agent.say("último")
    user.agent.end()
    simulator.wait_for(lambda: down.hits >= 2, LONG_S)
    assert user.states == []
    simulator.faults.clear()
    user.must_go_back("from-sf-success", timeout_s=LONG_S)
    assert user.read() == [WAIT, "último"]


def test_a_delivery_whose_answer_is_lost_is_repeated_under_the_same_id(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.add_fault(MESSAGES, contains=user.id, drop="after")
    user.agent.say("uno", "dos")
    user.must_read(WAIT, "uno", "dos", timeout_s=LONG_S)
    assert user.simulator.user_texts(user.id, repeats=True) == [WAIT, "uno", "uno", "dos"]
    ids = [entry.id for entry in simulator.entries("user_text", user.id)]
    assert ids[1] == ids[2]
    assert len(set(ids)) == 3


def test_a_text_that_the_channel_refuses_for_good_does_not_delay_the_others(
    simulator: Simulator, messenger_user: MessengerUser
) -> None:
    messenger_user.talk()
    simulator.add_fault(MESSAGES, contains="imposible", status=400, times=0)
    messenger_user.agent.say("uno", "imposible", "dos")
    messenger_user.must_read(WAIT, "uno", "dos", timeout_s=LONG_S)
    end_well(messenger_user)


def test_one_users_failing_deliveries_do_not_delay_another_user(simulator: Simulator, bot: Bot) -> None:
    unlucky, lucky = bot.new_user().talk(), bot.new_user().talk()
    simulator.add_fault(MESSAGES, contains=unlucky.id, delay_s=2.0)
    simulator.add_fault(NOUN, session=unlucky.agent.session, delay_s=2.0)
    unlucky.agent.say("tarde")
    unlucky.say("tarde")
    for number in range(5):
        lucky.say(f"pronto {number}")
        lucky.agent.say(f"pronto {number}")
    lucky.agent.must_read(*(f"pronto {number}" for number in range(5)), timeout_s=1.8)
    lucky.must_read(WAIT, *(f"pronto {number}" for number in range(5)), timeout_s=1.8)
    assert (unlucky.read(), unlucky.agent.read_of_user()) == ([WAIT], [])
    unlucky.must_read(WAIT, "tarde")
    unlucky.agent.must_read("tarde")


# --- the bot flow -----------------------------------------------------------------------------------------------------


BOT_FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "times": 2},
    "dropped": {"drop": "before"},
    "no_json": {"status": 200, "body": "<html>"},
}


def test_a_bot_state_that_fails_at_first_is_set_again(simulator: Simulator, bot: Bot) -> None:
    def journey(user: BotUser, fault: dict[str, Any]) -> None:
        user.talk()
        simulator.add_fault("/botrunner/*", contains=user.id, **fault)
        end_well(user)

    together({name: partial(journey, bot.new_user(), fault) for name, fault in BOT_FAULTS.items()})


def test_a_bot_state_that_always_fails_does_not_prevent_a_new_chat(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.add_fault("/botrunner/*", contains=user.id, status=400, times=0)
    user.agent.end()
    user.must_be_free()
    user.talk()


# --- opening ----------------------------------------------------------------------------------------------------------

DATA = "/salesforce/services/data/*"
OPENING: dict[str, tuple[str, dict[str, Any]]] = {
    "search_500": (f"{DATA}/composite", {"status": 500}),
    "search_dropped": (f"{DATA}/composite", {"drop": "before"}),
    "search_garbled": (f"{DATA}/composite", {"garbage": True}),
    "contact_503": (f"{DATA}/sobjects/Contact", {"status": 503}),
    "contact_answer_lost": (f"{DATA}/sobjects/Contact", {"drop": "after"}),
    "case_500": (f"{DATA}/sobjects/Case", {"status": 500}),
    "case_answer_lost": (f"{DATA}/sobjects/Case", {"drop": "after"}),
    "case_garbled": (f"{DATA}/sobjects/Case", {"garbage": True}),
    "request_500": ("*/Chasitor/ChasitorInit", {"status": 500}),
    "request_answer_lost": ("*/Chasitor/ChasitorInit", {"drop": "after"}),
}


def open_once(simulator: Simulator, user: BotUser, path: str, **fault: Any) -> None:
    """A chat opens though one step of it fails at first."""
    armed = simulator.add_fault(path, **fault)
    # The name stands in every body, so that each journey meets its own fault.
    user.talk(description=user.email)
    assert armed.hits == 1
    assert len(user.agent.cases) == 1
    assert len([contact for contact in simulator.records("Contact") if contact["Email"] == user.email]) == 1
    assert len(simulator.entries("chat_requested", user.name)) == 1
    assert user.read() == [WAIT]


def test_a_chat_opens_though_a_step_of_it_fails_at_first_and_no_record_is_made_twice(
    simulator: Simulator, bot: Bot
) -> None:
    def journey(path: str, fault: dict[str, Any]) -> None:
        email = f"{len(bot.users)}.{path.rpartition('/')[2].lower()}@example.com"
        user = bot.new_user(email=email, name=email)
        open_once(simulator, user, path, contains=email.replace("@", "%40") if "composite" in path else email, **fault)

    together({name: partial(journey, path, fault) for name, (path, fault) in OPENING.items()})


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "after"}], ids=["503", "answer_lost"])
def test_a_chat_opens_though_its_session_fails_at_first(
    simulator: Simulator, user: BotUser, fault: dict[str, Any]
) -> None:
    open_once(simulator, user, "*/System/SessionId", **fault)
