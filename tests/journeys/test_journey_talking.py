"""An agent is there: texts both ways, in order, once; and what the desk says besides."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from personas import WAIT, Bot, BotUser, MessengerUser

from bridge.ops.simulator import Simulator

LEFT = "El agente perdió la conexión. Espera un momento, por favor."
TRANSFERRED = "Ahora te atiende otro agente."
TRANSFERRING = "Te estamos transfiriendo con otro agente. Espera un momento, por favor."
FILE = "El agente quiso enviarte un archivo, pero no se puede recibir por este medio."


# --- order ------------------------------------------------------------------------------------------------------------


def test_fifty_quick_messages_each_way_arrive_in_order_and_once(user: BotUser) -> None:
    user.talk()
    asked = [f"pregunta {number}" for number in range(50)]
    answered = [f"respuesta {number}" for number in range(50)]

    def ask() -> None:
        for text in asked:
            user.say(text)

    def answer() -> None:
        for text in answered:
            user.agent.say(text)
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(ask), gevent.spawn(answer)], raise_error=True)
    user.agent.must_read(*asked, timeout_s=40)
    user.must_read(WAIT, *answered, timeout_s=40)
    assert user.agent.numbers() == list(range(2, 53))
    assert not user.agent.entries("post_repeated")
    user.agent.end()
    user.must_go_back("from-sf-success")
    assert user.simulator.user_texts(user.id, repeats=True) == [WAIT, *answered]


def test_quick_messages_of_a_messenger_user_arrive_in_order(messenger_user: MessengerUser) -> None:
    messenger_user.talk()
    texts = [f"mensaje {number}" for number in range(20)]
    for text in texts:
        messenger_user.say(text)
    messenger_user.agent.must_read(*texts)


def test_several_messages_in_one_delivery_arrive_in_order(messenger_user: MessengerUser) -> None:
    messenger_user.talk()
    messages = [{"mid": f"m_{messenger_user.id}_{number}", "text": f"parte {number}"} for number in range(5)]
    messenger_user.hook(messenger_user.delivery(messages))
    messenger_user.agent.must_read(*(f"parte {number}" for number in range(5)))


def test_a_repeated_webhook_has_no_second_effect(user: BotUser) -> None:
    user.talk()
    first = user.say("solo una vez")
    user.hook(first)
    user.say("y sigo")
    user.hook(first)
    user.say("fin")
    user.agent.must_read("solo una vez", "y sigo", "fin")


def test_a_repeated_messenger_webhook_has_no_second_effect(messenger_user: MessengerUser) -> None:
    messenger_user.talk()
    messenger_user.hook(messenger_user.say("solo una vez"))
    messenger_user.say("fin")
    messenger_user.agent.must_read("solo una vez", "fin")


def test_a_webhook_repeated_by_many_at_once_has_one_effect(user: BotUser) -> None:
    user.talk()
    body = user.text_body("¡ya!")
    gevent.joinall([gevent.spawn(user.hook, body) for _ in range(8)], raise_error=True)
    user.say("fin")
    user.agent.must_read("¡ya!", "fin")


def test_two_equal_texts_are_two_texts(user: BotUser) -> None:
    user.talk()
    user.say("sí")
    user.say("sí")
    user.agent.must_read("sí", "sí")
    user.agent.say("no", "no")
    user.must_read(WAIT, "no", "no")


# --- content ----------------------------------------------------------------------------------------------------------

ODD = ["👩‍👩‍👧 ñandú «ok»", "<b>&amp;</b> \"'\\", "una\n\ndos\tlíneas", "{{no}} %s @{ref.id} ${x}", "‏שלום‏"]


def test_a_text_arrives_as_it_was_written_both_ways(user: BotUser) -> None:
    user.talk()
    for text in ODD:
        user.say(text)
    user.agent.say(*ODD)
    user.agent.must_read(*ODD)
    user.must_read(WAIT, *ODD)


@pytest.mark.parametrize(("provider", "most"), [("whatsapp", 4096), ("facebook", 2000)])
def test_a_long_agent_text_is_split_in_order(bot: Bot, provider: str, most: int) -> None:
    user = bot.new_user() if provider == "whatsapp" else bot.new_messenger_user()
    user.talk()
    text = " ".join(f"palabra{number}" for number in range(1000))
    user.agent.say(text, "corto")
    parts = -(-len(text) // most)
    user.simulator.wait_for(lambda: user.read()[-1] == "corto", 10)
    read = user.read()[1:-1]
    assert "".join(read) == text
    assert parts <= len(read) <= parts + 1
    assert max(map(len, read)) <= most


SPOKEN: list[tuple[str, Any, str]] = [
    (
        "location",
        {"latitude": 19.43, "longitude": -99.13, "name": "Zócalo"},
        "Ubicación: Zócalo https://maps.google.com/?q=19.43,-99.13",
    ),
    (
        "contacts",
        [{"name": {"formatted_name": "Luis"}, "phones": [{"phone": "+525511111111"}]}],
        "Contacto: Luis, +525511111111",
    ),
    ("sticker", {"id": "s1", "mime_type": "image/webp"}, "Sticker"),
    ("reaction", {"message_id": "wamid.x", "emoji": "👍"}, "Reacción: 👍"),
]


def test_a_message_without_text_becomes_a_line_that_the_agent_can_read(user: BotUser) -> None:
    user.talk()
    for kind, content, _ in SPOKEN:
        user.send(kind, content)
    user.agent.must_read(*(line for *_, line in SPOKEN))


def test_a_webhook_of_an_ignored_or_unknown_type_is_taken_and_dropped(user: BotUser) -> None:
    user.talk()
    for kind in ("status", "notification-status", "unheard-of"):
        user.send(kind, {"status": "read"})
    user.say("fin")
    user.agent.must_read("fin")


def test_what_the_bot_says_during_a_chat_is_not_shown_to_the_agent_as_the_users(bot: Bot, user: BotUser) -> None:
    user.talk()
    bot.say(user, "Soy el bot")
    user.say("fin")
    user.agent.must_read("fin")
    assert user.context() == ["Soy el bot"]


def test_an_echo_of_the_messenger_bot_is_not_shown_to_the_agent(messenger_user: MessengerUser) -> None:
    messenger_user.talk()
    echo = {"mid": f"m_echo_{messenger_user.id}", "text": "Soy el bot", "is_echo": True}
    messenger_user.hook(messenger_user.delivery([echo], role="bot"))
    messenger_user.say("fin")
    messenger_user.agent.must_read("fin")


# --- what else the desk says ------------------------------------------------------------------------------------------


def test_the_agents_typing_is_not_sent_to_the_user(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.types(user.agent.who)
    simulator.types(user.agent.who, stops=True)
    user.agent.say("listo")
    user.must_read(WAIT, "listo")


def test_a_transfer_to_another_agent_is_announced_and_the_chat_goes_on(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.transfer(user.agent.who)
    user.must_read(WAIT, TRANSFERRED)
    user.say("¿quién es?")
    user.agent.must_read("¿quién es?")
    user.agent.say("soy Luis")
    user.must_read(WAIT, TRANSFERRED, "soy Luis")


def test_a_transfer_to_a_queue_is_announced_and_the_next_agent_reads_what_was_written_meanwhile(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    simulator.transfer(user.agent.who, to_queue=True)
    simulator.wait_for(lambda: len(user.read()) == 2)
    user.say("¿hola?")
    user.agent.must_read("¿hola?")
    simulator.accept(user.agent.who, name="Luis", user_id="0055f000001LuiS")
    user.agent.say("ya estoy")
    simulator.wait_for(lambda: user.read()[-1] == "ya estoy")
    assert TRANSFERRED in user.read()


def test_a_transfer_to_a_queue_is_not_announced_as_a_lost_connection(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.transfer(user.agent.who, to_queue=True)
    simulator.wait_for(lambda: len(user.read()) == 2)
    assert user.read() == [WAIT, TRANSFERRING]


def test_an_agents_lost_connection_is_announced_and_another_agent_may_take_over(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    simulator.disconnect(user.agent.who)
    user.must_read(WAIT, LEFT)
    assert user.states == []
    simulator.accept(user.agent.who, name="Luis", user_id="0055f000001LuiS")
    user.must_read(WAIT, LEFT, TRANSFERRED)
    user.say("sigo aquí")
    user.agent.must_read("sigo aquí")


def test_a_file_that_the_agent_offers_is_announced_as_text(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.request_file(user.agent.who)
    user.must_read(WAIT, FILE)
    simulator.cancel_file(user.agent.who)
    user.agent.say("da igual")
    user.must_read(WAIT, FILE, "da igual")


def test_a_link_from_the_agent_stays_a_link(user: BotUser) -> None:
    user.talk()
    user.agent.say("https://example.com/a?b=c&d=%20#e")
    user.must_read(WAIT, "https://example.com/a?b=c&d=%20#e")
