"""How a chat ends, and where the bot goes then: every row of botflow.md, "Which state when"."""

from __future__ import annotations

from functools import partial

import pytest
from conftest import Serve
from personas import WAIT, Bot, BotUser, MessengerUser, together
from profiles import IMPATIENT, PRODUCTION, QUICK

from bridge.ops.simulator import Simulator

SUCCESS, TIMEOUT = "from-sf-success", "from-sf-timeout"
DELAY_S = float(QUICK["botrunner_timeout"])
FAILED = "could not create chat in salesforce"


def after_s(simulator: Simulator, user: BotUser, kind: str) -> float:
    """How long after the desk's event the bot was told."""
    ended = user.agent.entries(kind)[-1].at_ms
    return (simulator.entries("bot_state", user.id)[-1].at_ms - ended) / 1000


# --- success ----------------------------------------------------------------------------------------------------------


def test_a_chat_that_the_desk_ends_after_a_talk_is_a_success(bot: Bot) -> None:
    def journey(reason: str) -> None:
        user = bot.new_user().talk()
        user.agent.end(reason)
        user.must_go_back(SUCCESS)

    reasons = ("agent", "client", "clientIdleTimeout", "unknown", "somethingNew")
    together({reason: partial(journey, reason) for reason in reasons})


def test_the_bot_is_told_of_success_at_once_and_after_the_agents_last_words(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    user.agent.say("fue un placer", "adiós")
    user.agent.end()
    user.must_go_back(SUCCESS)
    assert user.read() == [WAIT, "fue un placer", "adiós"]
    last_words = simulator.entries("user_text", user.id)[-1].number
    assert simulator.entries("bot_state", user.id)[0].number > last_words


def test_a_chat_that_is_finished_by_the_api_is_a_success_and_the_agent_is_told(bot: Bot, user: BotUser) -> None:
    user.talk()
    answer = bot.finish(user)
    assert (answer.status_code, answer.json()) == (200, {"Message": "Chat finished successfully"})
    user.must_go_back(SUCCESS)
    assert (user.agent.status, user.agent.entries("chat_ended")[0].text) == ("ended", "client")


def test_what_the_user_wrote_before_the_chat_was_finished_still_reaches_the_agent(user: BotUser) -> None:
    user.talk()
    texts = [f"último {number}" for number in range(10)]
    for text in texts:
        user.say(text)
    user.finish()
    user.agent.must_read(*texts)
    user.must_go_back(SUCCESS)


@pytest.mark.parametrize("failures", [0, 1])
def test_what_the_agent_wrote_before_the_chat_was_finished_still_reaches_the_user(
    simulator: Simulator, bot: Bot, failures: int
) -> None:
    """`failures` polls fail just before, so that no poll is open when the chat is finished."""

    def journey(number: int) -> None:
        user = bot.new_user().talk()
        if failures:
            simulator.add_fault("*/System/Messages", session=user.agent.session, status=502, times=failures)
        texts = [f"su folio es {number}", "hasta luego"]
        user.agent.say(*texts)
        bot.finish(user)
        user.must_go_back(SUCCESS)
        assert user.read() == [WAIT, *texts]

    together({str(number): partial(journey, number) for number in range(20)})


def test_finish_without_a_chat_is_404(bot: Bot, user: BotUser) -> None:
    answer = bot.finish(user)
    assert (answer.status_code, answer.json()) == (
        404,
        {
            "ErrorDescription": "could not finish chat in salesforce : error not found interconnection: "
            "not found interconnection"
        },
    )
    assert user.states == []


# --- timeout ----------------------------------------------------------------------------------------------------------


def test_a_request_that_fails_is_a_timeout(simulator: Simulator, bot: Bot) -> None:
    def journey(reason: str) -> None:
        user = bot.new_user().wait_on_hold()
        simulator.fail(user.agent.who, reason=reason)
        user.must_go_back(TIMEOUT)

    reasons = ("Unavailable", "Blocked", "InternalFailure", "NoPost", "Unknown")
    together({reason: partial(journey, reason) for reason in reasons})


def test_a_request_that_fails_before_it_is_queued_is_a_timeout(simulator: Simulator, user: BotUser) -> None:
    simulator.configure(agents_online=False)
    assert user.bot.connect(user).status_code in (200, 502)
    user.must_go_back(TIMEOUT)
    assert user.read() == []


def test_a_request_that_fails_in_the_middle_of_a_talk_is_a_timeout(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    user.agent.say("un momento")
    simulator.fail(user.agent.who)
    user.must_go_back(TIMEOUT)
    assert user.read() == [WAIT, "un momento"]


@pytest.mark.parametrize("talking", [True, False], ids=["talking", "on_hold"])
def test_a_session_that_is_lost_is_a_timeout(simulator: Simulator, user: BotUser, talking: bool) -> None:
    _ = user.talk() if talking else user.wait_on_hold()
    simulator.lose_session(user.agent.who)
    user.must_go_back(TIMEOUT)


def test_a_poll_that_is_refused_for_good_is_a_timeout(simulator: Simulator, bot: Bot) -> None:
    def journey(status: int) -> None:
        user = bot.new_user().talk()
        simulator.add_fault("*/System/Messages", session=user.agent.session, status=status, times=0)
        user.agent.say("nadie lo lee")
        user.must_go_back(TIMEOUT)

    together({str(status): partial(journey, status) for status in (400, 404, 405)})


def test_a_chat_that_salesforce_refuses_is_a_timeout_and_the_caller_is_told_why(
    simulator: Simulator, bot: Bot, user: BotUser
) -> None:
    simulator.configure(request_limit_exceeded=True)
    answer = bot.connect(user)
    assert answer.status_code == 502
    assert answer.json()["ErrorDescription"].startswith(f"{FAILED} : ")
    assert "REQUEST_LIMIT_EXCEEDED" in answer.text
    user.must_go_back(TIMEOUT)
    assert user.read() == []


def test_the_timeout_state_does_not_overtake_the_bots_own_texts(simulator: Simulator, user: BotUser) -> None:
    user.wait_on_hold()
    simulator.fail(user.agent.who)
    user.must_go_back(TIMEOUT)
    assert after_s(simulator, user, "chat_ended") >= DELAY_S


def test_when_salesforce_gives_no_answer_in_time_the_caller_is_told_and_it_is_a_timeout(
    simulator: Simulator, serve: Serve
) -> None:
    bot = serve(IMPATIENT)
    user = bot.new_user()
    simulator.add_fault("/salesforce/services/data/*/composite", status=503, times=0)
    answer = bot.connect(user)
    assert answer.status_code == 504
    user.must_go_back(TIMEOUT)
    simulator.faults.clear()
    assert not simulator.entries("chat_requested", user.name)


def test_a_chat_whose_caller_gave_up_is_not_offered_to_an_agent_later(simulator: Simulator, serve: Serve) -> None:
    bot = serve(IMPATIENT)
    user = bot.new_user()
    simulator.add_fault("*/System/SessionId", delay_s=1.8)
    assert bot.connect(user).status_code == 504
    user.must_go_back(TIMEOUT)
    assert not simulator.entries("chat_requested", user.name)


def test_a_chat_that_the_desk_took_too_late_is_left_again(simulator: Simulator, serve: Serve) -> None:
    bot = serve(IMPATIENT)
    user = bot.new_user()
    simulator.add_fault("*/Chasitor/ChasitorInit", act=True, delay_s=1.8)
    assert bot.connect(user).status_code == 504
    user.must_go_back(TIMEOUT)
    simulator.wait_for(lambda: user.agent.status == "ended")
    assert user.read() == []


# --- blocked ----------------------------------------------------------------------------------------------------------


def test_a_blocked_contact_gets_no_chat_and_the_blocked_state(simulator: Simulator, serve: Serve) -> None:
    bot = serve(PRODUCTION)
    user = bot.new_user()
    blocked = simulator.seed_contact(Email=user.email, blocked=True)
    answer = bot.connect(user)
    assert (answer.status_code, answer.json()) == (403, {"ErrorDescription": f"{FAILED}: this contact is blocked"})
    user.must_go_back("wa-blocked")
    assert user.read() == []
    assert not [case for case in simulator.records("Case") if case["ContactId"] == blocked]
    assert not simulator.entries("chat_requested", user.name)


# --- words that end a chat --------------------------------------------------------------------------------------------


def test_in_dev_a_restart_word_ends_the_chat_and_the_bot_restarts_itself(bot: Bot) -> None:
    def journey(word: str) -> None:
        user = bot.new_user().talk()
        user.say("antes")
        user.say(word)
        user.must_be_free()
        user.agent.must_read("antes")
        assert (user.agent.status, user.states) == ("ended", [])

    together({word: partial(journey, word) for word in ("coppelbot", "Regresar", " REINICIAR ", "restart")})


def test_in_staging_a_restart_word_ends_the_chat_too(serve: Serve) -> None:
    user = serve(IMPATIENT).new_user().talk()
    user.say("reiniciar")
    user.must_be_free()
    assert (user.agent.status, user.states) == ("ended", [])


def test_in_production_a_restart_word_is_a_text_like_any_other(serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().talk()
    user.say("reiniciar")
    user.agent.must_read("reiniciar")
    assert user.agent.status == "active"


def test_a_leave_word_ends_the_chat_in_production_and_sets_no_state(serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().talk()
    user.say("quiero salir de dudas")
    user.say("Salir")
    user.must_be_free()
    user.agent.must_read("quiero salir de dudas")
    assert (user.agent.status, user.states) == ("ended", [])


# --- who is told ------------------------------------------------------------------------------------------------------


def test_botrunner_is_told_under_the_bots_slug(simulator: Simulator, user: BotUser) -> None:
    user.talk().agent.end()
    user.must_go_back(SUCCESS)
    entry = simulator.entries("bot_state", user.id)[0]
    assert entry.details == {"flow": "botrunner", "slug": "coppel-bot"}


def test_botrunner_is_shown_its_token(simulator: Simulator, serve: Serve) -> None:
    simulator.configure(botrunner_token="a runner's token")
    user = serve(IMPATIENT).new_user().talk()
    user.agent.end()
    user.must_go_back(SUCCESS)


def test_studio_ng_is_told_instead_where_it_is_set(simulator: Simulator, serve: Serve) -> None:
    bot = serve(PRODUCTION)
    user, messenger = bot.new_user().talk(), bot.new_messenger_user().talk()
    for somebody in (user, messenger):
        somebody.agent.end()
    user.must_go_back("wa-ok")
    messenger.must_go_back("fb-ok")
    assert simulator.entries("bot_state", user.id)[0].details == {"flow": "studio"}


def test_each_provider_has_states_of_its_own(simulator: Simulator, serve: Serve) -> None:
    bot = serve(PRODUCTION)
    late, blocked = bot.new_messenger_user(), bot.new_messenger_user()
    late.wait_on_hold()
    simulator.fail(late.agent.who)
    simulator.seed_contact(Email=blocked.email, blocked=True)
    assert bot.connect(blocked).status_code == 403
    late.must_go_back("fb-late")
    blocked.must_go_back("fb-blocked")


# --- afterwards -------------------------------------------------------------------------------------------------------


def test_a_text_after_the_end_is_context_and_reaches_the_next_agent(user: BotUser) -> None:
    user.talk().agent.end()
    user.must_go_back(SUCCESS)
    user.say("una cosa más")
    assert user.context() == ["una cosa más"]
    user.talk()
    assert user.agent.read()[0].startswith("Contexto:\nCliente [")
    assert ":una cosa más\n\n" in user.agent.read()[0]


def test_what_was_said_in_a_chat_is_no_context_of_the_next(user: BotUser) -> None:
    user.talk()
    user.say("esto ya lo sabe")
    user.finish()
    user.must_go_back(SUCCESS)
    assert user.agent.read_of_user() == ["esto ya lo sabe"]
    assert user.context() == []


def test_a_text_that_the_agent_read_as_the_chat_ended_is_no_context_of_the_next(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    simulator.add_fault("*/Chasitor/ChatMessage", session=user.agent.session, act=True, delay_s=0.3)
    user.say("justo a tiempo")
    user.agent.must_read("justo a tiempo")
    user.agent.end()
    user.must_go_back(SUCCESS)
    assert user.context() == []


def test_a_webhook_repeated_after_the_end_has_no_second_effect(messenger_user: MessengerUser) -> None:
    messenger_user.talk()
    body = messenger_user.say("una vez")
    messenger_user.agent.must_read("una vez")
    messenger_user.agent.end()
    messenger_user.must_go_back(SUCCESS)
    messenger_user.hook(body)
    assert messenger_user.context() == []


def test_no_text_is_lost_between_the_chat_and_the_context(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    texts = [f"texto {number}" for number in range(30)]
    for text in texts[:10]:
        user.say(text)
    user.agent.must_read(*texts[:10])
    # What is tried in vain shows that everything before it is settled.
    stuck = simulator.add_fault("*/Chasitor/ChatMessage", session=user.agent.session, status=500, times=0)
    user.say(texts[10])
    simulator.wait_for(lambda: stuck.hits)
    user.agent.end()
    for text in texts[11:]:
        user.say(text)
    user.must_go_back(SUCCESS)
    assert (user.agent.read_of_user(), sorted(user.context())) == (texts[:10], texts[10:])
