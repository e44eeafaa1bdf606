"""On hold: what is told, what is kept for the agent, and how waiting ends without one."""

from __future__ import annotations

from functools import partial

from conftest import Serve
from personas import WAIT, Bot, BotUser, together
from profiles import IMPATIENT, PRODUCTION

from bridge.ops.simulator import Simulator

# --- what is kept for the agent ---------------------------------------------------------------------------------------


def test_everything_written_on_hold_reaches_the_agent_in_order_and_once(user: BotUser) -> None:
    user.wait_on_hold()
    texts = [f"espero {number}" for number in range(10)]
    for text in texts:
        user.say(text)
    user.agent.accept()
    user.agent.must_read(*texts)
    assert user.agent.read()[0] != texts[0], "the greeting comes first"
    assert user.context() == []


def test_a_file_sent_on_hold_keeps_its_place_among_the_texts(simulator: Simulator, user: BotUser) -> None:
    user.wait_on_hold()
    user.say("mira")
    user.send_file("image", f"{simulator.url}/media/photo.png")
    user.say("¿lo ves?")
    user.agent.accept()
    user.agent.must_read("mira", "**El usuario adjunto una imagen al caso**", "¿lo ves?")
    assert len(user.agent.files) == 1


def test_a_webhook_repeated_on_hold_has_no_second_effect(user: BotUser) -> None:
    user.wait_on_hold()
    body = user.say("una vez")
    user.hook(body)
    user.agent.accept()
    user.say("fin")
    user.agent.must_read("una vez", "fin")


def test_nothing_reaches_the_desk_before_an_agent_is_there(simulator: Simulator, user: BotUser) -> None:
    user.wait_on_hold()
    for number in range(3):
        user.say(f"antes {number}")
    refused = simulator.requests("/ChatMessage", status=500)
    user.agent.accept()
    user.agent.must_read("antes 0", "antes 1", "antes 2")
    assert simulator.requests("/ChatMessage", status=500) == refused
    assert user.agent.numbers() == [2, 3, 4, 5]


# --- what the user is told --------------------------------------------------------------------------------------------


def test_the_place_in_the_queue_is_told_when_it_changed(simulator: Simulator, serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().wait_on_hold()
    simulator.queue_update(user.agent.who, position=3, wait_s=90)
    told = "Posición en la cola: 3\nTiempo de espera: 2 min"
    user.must_read(WAIT, told)
    simulator.queue_update(user.agent.who, position=3, wait_s=90)
    simulator.queue_update(user.agent.who, position=1)
    user.must_read(WAIT, told, "Posición en la cola: 1")


def test_the_place_in_the_queue_is_told_no_more_often_than_every_minute(simulator: Simulator, user: BotUser) -> None:
    user.wait_on_hold()
    for position in (5, 4, 3):
        simulator.queue_update(user.agent.who, position=position)
    user.agent.accept()
    user.agent.say("hola")
    user.must_read(WAIT, "hola")


def test_an_interval_of_0_switches_queue_updates_off(simulator: Simulator, serve: Serve) -> None:
    user = serve(IMPATIENT).new_user().wait_on_hold()
    simulator.queue_update(user.agent.who, position=2)
    user.must_go_back("from-sf-timeout")
    assert user.read() == [WAIT]


# --- waiting ends -----------------------------------------------------------------------------------------------------


def test_after_max_wait_the_bridge_gives_up_and_cancels_the_request(serve: Serve) -> None:
    bot = serve(IMPATIENT)
    user = bot.new_user().wait_on_hold()
    user.say("¿hola?")
    user.must_go_back("from-sf-timeout")
    assert user.agent.status == "ended"
    assert user.context() == ["¿hola?"]


def test_max_wait_does_not_end_a_chat_that_has_an_agent(simulator: Simulator, serve: Serve) -> None:
    bot = serve(IMPATIENT)
    talking = bot.new_user().talk()
    # Somebody who comes later and waits in vain shows that the first one's time is over, too.
    bot.new_user().wait_on_hold().must_go_back("from-sf-timeout")
    talking.agent.say("sigo aquí")
    talking.must_read(WAIT, "sigo aquí")
    assert (talking.states, talking.agent.status) == ([], "active")


def test_without_max_wait_the_user_waits_as_long_as_it_takes(simulator: Simulator, user: BotUser) -> None:
    user.wait_on_hold()
    polls = len(user.agent.entries("poll_ended"))
    simulator.wait_for(lambda: len(user.agent.entries("poll_ended")) > polls, 8)
    user.agent.accept()
    user.say("por fin")
    user.agent.must_read("por fin")


def test_a_chat_that_the_desk_ends_because_no_agent_came_is_a_timeout(bot: Bot) -> None:
    def journey(reason: str) -> None:
        user = bot.new_user().wait_on_hold()
        user.agent.end(reason)
        user.must_go_back("from-sf-timeout")

    together({reason: partial(journey, reason) for reason in ("agentPushTimeout", "agentsUnavailable", "NoPost")})


def test_finishing_a_chat_on_hold_ends_it_at_the_desk_and_keeps_what_was_written(bot: Bot, user: BotUser) -> None:
    user.wait_on_hold()
    user.say("me canso de esperar")
    answer = bot.finish(user)
    assert (answer.status_code, answer.json()) == (200, {"Message": "Chat finished successfully"})
    user.must_go_back("from-sf-success")
    assert user.agent.status == "ended"
    assert user.context() == ["me canso de esperar"]


def test_a_leave_word_ends_the_wait_and_sets_no_state(serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().wait_on_hold()
    user.say("  SALIR ")
    user.must_be_free()
    user.simulator.wait_for(lambda: user.agent.status == "ended")
    assert user.states == []


def test_a_user_who_left_the_queue_may_come_back(serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().wait_on_hold()
    user.say("adios")
    user.must_be_free()
    user.talk()
    user.say("volví")
    user.agent.must_read("volví")
