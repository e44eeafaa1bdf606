"""From the first word to an agent: context, welcome, one chat a user."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import gevent
import pytest
from conftest import Serve
from personas import WAIT, Bot, BotUser, MessengerUser, await_equal, welcome
from profiles import PRODUCTION

from bridge.ops.simulator import Simulator

HOUR_MS = 3_600_000


def stamp(at_ms: int, zone: str = "America/Mexico_City") -> str:
    """A moment as an agent reads it (settings.md, "What the agent reads first")."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).strftime("%d-%m-%Y %H:%M:%S")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# --- a whole conversation ---------------------------------------------------------------------------------------------


def test_a_whatsapp_user_asks_for_a_person_talks_and_goes_back_to_the_bot(user: BotUser) -> None:
    user.connect()
    user.must_read(WAIT)
    user.agent.accept()
    user.agent.must_read()
    user.agent.say("Hola, ¿en qué puedo ayudarte?")
    user.must_read(WAIT, "Hola, ¿en qué puedo ayudarte?")
    user.say("¿Dónde está mi pedido?")
    user.agent.must_read("¿Dónde está mi pedido?")
    user.agent.end()
    user.must_go_back("from-sf-success")
    assert user.read() == [WAIT, "Hola, ¿en qué puedo ayudarte?"]


def test_a_messenger_user_asks_for_a_person_talks_and_goes_back_to_the_bot(messenger_user: MessengerUser) -> None:
    messenger_user.connect()
    messenger_user.must_read(WAIT)
    messenger_user.agent.accept()
    messenger_user.say("¿Hay alguien?")
    messenger_user.agent.must_read("¿Hay alguien?")
    messenger_user.agent.say("Aquí estoy 👋")
    messenger_user.must_read(WAIT, "Aquí estoy 👋")
    messenger_user.agent.end()
    messenger_user.must_go_back("from-sf-success")


# --- what the agent sees first ----------------------------------------------------------------------------------------


def test_the_agent_reads_the_context_then_the_welcome_then_what_was_written_on_hold(bot: Bot, user: BotUser) -> None:
    asked, answered = now_ms() - 3 * HOUR_MS, now_ms() - 2 * HOUR_MS
    user.hook(user.text_body("Ayuda", at_ms=asked))
    user.hook(user.text_body("Elige un número", at_ms=answered) | {"to": user.id})
    user.wait_on_hold()
    user.say("sigo aquí")
    user.say("¿hola?")
    user.agent.accept()
    context = f"Contexto:\nCliente [{stamp(asked)}]:Ayuda\n\nBot [{stamp(answered)}]:Elige un número\n\n"
    await_equal(bot.simulator, user.agent.read, [context, welcome(user), "sigo aquí", "¿hola?"])


def test_without_context_the_agent_reads_the_welcome_first(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    user.say("hola")
    await_equal(simulator, user.agent.read, [welcome(user), "hola"])


def test_context_is_in_the_order_of_its_arrival_with_the_times_of_its_senders(user: BotUser) -> None:
    later, earlier = now_ms() - HOUR_MS, now_ms() - 2 * HOUR_MS
    user.hook(user.text_body("llega primero", at_ms=later))
    user.hook(user.text_body("llega segundo", at_ms=earlier))
    assert user.context() == ["llega primero", "llega segundo"]
    user.talk()
    context = f"Contexto:\nCliente [{stamp(later)}]:llega primero\n\nCliente [{stamp(earlier)}]:llega segundo\n\n"
    assert user.agent.read()[0] == context


def test_a_text_that_is_delivered_a_day_late_is_context_with_its_own_time(user: BotUser) -> None:
    said_ms = now_ms() - 25 * HOUR_MS
    user.hook(user.text_body("anteayer", at_ms=said_ms))
    user.talk()
    assert user.agent.read() == [f"Contexto:\nCliente [{stamp(said_ms)}]:anteayer\n\n", welcome(user)]


def test_a_file_in_the_context_is_shown_by_its_caption_and_address(user: BotUser) -> None:
    url = f"{user.simulator.url}/media/photo.png"
    user.send_file("image", url, caption="mi ticket", mimeType="image/png")
    user.talk()
    assert user.agent.read()[0].endswith(f":mi ticket {url}\n\n")


def test_the_operator_sets_the_sentences_and_the_time_zone(serve: Serve) -> None:
    user = serve(PRODUCTION).new_user()
    said = now_ms() - HOUR_MS
    user.hook(user.text_body("hola", at_ms=said))
    user.talk()
    assert user.agent.read()[0] == f"Antes:\nU [{stamp(said, 'Europe/Madrid')}]:hola\n\n"
    assert user.agent.contact["FirstName"] == "Bot:"


# --- one chat a user --------------------------------------------------------------------------------------------------


def test_a_user_who_waits_cannot_open_a_second_chat(bot: Bot, user: BotUser) -> None:
    user.wait_on_hold()
    answer = bot.connect(user)
    assert (answer.status_code, answer.json()) == (
        409,
        {"ErrorDescription": f"session exists with userID : {user.id}"},
    )
    assert len(user.agent.cases) == 1


def test_a_user_who_talks_cannot_open_a_second_chat_and_goes_on_talking(bot: Bot, user: BotUser) -> None:
    user.talk()
    assert bot.connect(user).status_code == 409
    user.say("¿sigues ahí?")
    user.agent.must_read("¿sigues ahí?")


def test_of_two_connects_at_the_same_moment_one_opens_the_chat(bot: Bot, user: BotUser) -> None:
    asked = [gevent.spawn(bot.connect, user) for _ in range(2)]
    gevent.joinall(asked, raise_error=True)
    assert [ask.value.status_code for ask in asked] == [200, 200], "the second joins the first"
    user.must_read(WAIT)
    assert len(user.simulator.entries("chat_requested", user.name)) == 1
    assert len(user.agent.cases) == 1


def test_a_user_may_open_a_second_chat_after_the_first(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    first = user.agent.session
    user.agent.end()
    user.must_go_back("from-sf-success")
    user.talk()
    assert user.agent.session != first
    user.say("otra cosa")
    user.agent.must_read("otra cosa")
    user.agent.say("dime")
    user.must_read(WAIT, WAIT, "dime")
    assert len(user.agent.cases) == 2
    assert len([entry for entry in simulator.entries("contact_created") if entry.details["Email"] == user.email]) == 1


def test_chats_of_many_users_do_not_mix(bot: Bot) -> None:
    users = [bot.new_user() for _ in range(8)]
    gevent.joinall([gevent.spawn(user.talk) for user in users], raise_error=True)
    gevent.joinall([gevent.spawn(user.say, f"soy {user.name}") for user in users], raise_error=True)
    for user in users:
        user.agent.say(f"hola {user.name}")
    for user in users:
        user.agent.must_read(f"soy {user.name}")
        user.must_read(WAIT, f"hola {user.name}")


def test_what_the_user_writes_while_the_chat_is_being_opened_reaches_the_agent(
    simulator: Simulator, user: BotUser
) -> None:
    simulator.add_fault("/salesforce/services/data/*/sobjects/Case", delay_s=0.5)
    opening = gevent.spawn(user.connect)
    simulator.wait_for(lambda: [e for e in simulator.entries("contact_created") if e.details["Email"] == user.email])
    user.say("con permiso")
    opening.get(timeout=10)
    user.agent.accept()
    user.agent.must_read("con permiso")
    assert user.context() == []


@pytest.mark.parametrize("reason", ["Unavailable", "NoPost"])
def test_when_no_agent_can_come_the_bot_is_told_and_the_next_try_may_succeed(
    simulator: Simulator, user: BotUser, reason: str
) -> None:
    user.wait_on_hold()
    simulator.fail(user.agent.who, reason=reason)
    user.must_go_back("from-sf-timeout")
    user.talk()
