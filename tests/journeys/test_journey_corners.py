"""Rare moments that must lose nothing: bursts, equal times and ids, a finish while the agent writes."""

from __future__ import annotations

import json
import time

from personas import WAIT, Bot, BotUser, MessengerUser, await_equal, together, welcome

from bridge.ops.simulator import Simulator

POLL = "*/System/Messages"


def test_quick_texts_are_all_shown_by_a_desk_that_loses_bursts(simulator: Simulator, user: BotUser) -> None:
    user.say("antes")
    user.wait_on_hold()
    texts = [f"en espera {number}" for number in range(5)]
    for text in texts:
        user.say(text)
    user.agent.accept()
    user.agent.must_read(*texts)
    assert "antes" in user.agent.read()[0]


def test_what_the_agent_wrote_before_a_finish_reaches_the_user(simulator: Simulator, bot: Bot) -> None:
    def journey() -> None:
        user = bot.new_user().talk()
        simulator.add_fault(POLL, session=user.agent.session, status=502, times=1)
        user.agent.say("primera")
        user.must_read(WAIT, "primera")
        user.agent.say("su folio es 4711", "adiós")
        user.finish()
        user.must_read(WAIT, "primera", "su folio es 4711", "adiós")

    together({str(number): journey for number in range(8)})


def test_a_text_with_half_of_an_emoji_does_not_stop_the_chat(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    texts = ["su folio es 4711", "gracias \ud83d"]
    events = [{"type": "ChatMessage", "message": {"text": text, "name": "Ana"}} for text in texts]
    chat = simulator.chat(user.agent.who)
    # The poll that is open now is answered with the next batch, so the faulty batch has the number after that.
    body = json.dumps({"messages": events, "sequence": chat.batches + 1, "offset": chat.offset + 3})
    simulator.add_fault(POLL, session=chat.id, status=200, body=body, act=True, times=0)
    user.agent.say("esto lo sustituye el fallo")
    simulator.wait_for(lambda: "su folio es 4711" in user.read(), 20)


def test_a_poll_that_is_told_to_wait_two_minutes_is_tried_while_the_session_lives(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    headers = {"Retry-After": "120"}
    simulator.add_fault(POLL, session=user.agent.session, status=502, headers=headers, times=1)
    user.agent.say("una")
    user.must_read(WAIT, "una")
    user.agent.say("dos")
    user.must_read(WAIT, "una", "dos", timeout_s=15)


def test_context_of_one_second_keeps_the_order_of_arrival(user: BotUser) -> None:
    texts = [f"{number}. parte" for number in range(1, 13)]
    second_ms = int(time.time()) * 1000
    for text in texts:
        user.hook(user.text_body(text, at_ms=second_ms))
    assert user.context() == texts


def test_two_users_messages_with_one_id_are_two_messages(bot: Bot) -> None:
    users = [bot.new_user() for _ in range(40)]
    for user in users:
        user.hook(user.text_body(f"soy {user.name}") | {"id": "wamid.one-id-for-all"})
    assert [user.context() for user in users] == [[f"soy {user.name}"] for user in users]


def test_a_messenger_user_with_the_id_of_a_whatsapp_user_is_somebody_else(bot: Bot, user: BotUser) -> None:
    user.talk()
    namesake: MessengerUser = bot.new_messenger_user(id=user.id)
    namesake.say("yo soy otra persona")
    user.say("y yo soy yo")
    user.agent.must_read("y yo soy yo")


def test_a_user_gets_a_new_chat_while_the_bot_flow_is_down(simulator: Simulator, bot: Bot, user: BotUser) -> None:
    user.talk()
    simulator.add_fault("/botrunner/*", status=503, times=0)
    user.finish()
    await_equal(simulator, lambda: user.agent.status, "ended")
    assert bot.connect(user).status_code == 200


def test_a_malformed_event_costs_no_other_event_of_its_delivery(messenger_user: MessengerUser) -> None:
    user = messenger_user.talk()
    body = user.delivery([{"mid": "m_good", "text": "¿me leen?"}])
    [entry] = body["message"]["entry"]
    entry["messaging"].insert(0, {"message": {"mid": 7}, "sender": {"id": ""}, "recipient": {}, "timestamp": "soon"})
    assert user.bot.webhook("facebook", body).status_code == 200
    user.agent.must_read("¿me leen?")


def test_chats_of_both_providers_talk_at_the_same_time(bot: Bot) -> None:
    users = [make() for _ in range(4) for make in (bot.new_user, bot.new_messenger_user)]
    for user in users:
        user.talk()
    texts = [f"mensaje {number}" for number in range(5)]
    for text in texts:
        for user in users:
            user.say(text)
            user.agent.say(f"{text} para {user.name}")
    for user in users:
        user.agent.must_read(*texts)
        user.must_read(WAIT, *(f"{text} para {user.name}" for text in texts))
        assert user.agent.read()[0] == welcome(user)
