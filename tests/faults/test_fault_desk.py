"""Live Agent and Salesforce misbehave: storms, broken sessions, conflicts, garbage, drips, limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import gevent
import pytest
import requests
from fault_bench import DESK, Talks, now_ms

from bridge.ops.endurance.load import Caller, Talk
from bridge.ops.endurance.tcp_proxy import TcpProxy
from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60)]

POLL = "*/System/Messages"
POST = "*/Chasitor/ChatMessage"
CASE = "*/sobjects/Case"
STORM_S = 4.0
# SLEEP_LONG_POLLING's default.
OVERLAP_PAUSE_S = 3.0
# A reply that drips is given up after 15 s for a POST, and 5 s after the poll's own time.
GIVEN_UP_S = 30.0
# MAIN_CONTEXT_TIME_OUT, and a little more for the way.
CONNECT_S = 12.0


class DeskBench:
    """One service on the embedded store; its desk is behind a proxy."""

    def __init__(self, simulator: Simulator, proxy: TcpProxy) -> None:
        self.simulator = simulator
        self.proxy = proxy
        environ = sandbox_environ(simulator.url, sfc_chat_url=f"{proxy.url}/liveagent")
        self.service = ServiceProcess(environ)
        self.caller = Caller([self.service.url])

    def talks(self, chats: int = 1) -> Talks:
        """Chats of users whom nobody has met, each with an agent who was greeted."""
        talks = self.strangers(chats)
        talks.open()
        return talks

    def strangers(self, chats: int = 1) -> Talks:
        """Users whom nobody has met."""
        return Talks(self.simulator, self.caller, chats=chats)

    def session(self, talk: Talk) -> str:
        """The session of this user's chat."""
        return self.simulator.chat(talk.user).id

    def must_be_told(self, user: str, state: str) -> None:
        """Waits until the bot is put into this state, and no other."""
        self.simulator.wait_for(lambda: self.simulator.bot_states(user), 20)
        assert self.simulator.bot_states(user) == [state]

    def connect_with(self, user: str, *, description: str) -> requests.Response:
        """A connect whose case can be told from others by its description."""
        login = {"username": "yaloUser", "password": "yalo-password"}
        token = requests.post(f"{self.service.url}/v1/authenticate", json=login, timeout=10).json()["token"]
        body = {
            "userID": user,
            "botSlug": "proving",
            "botId": "521554578545",
            "name": user,
            "provider": "whatsapp",
            "email": f"{user}@example.com",
            "extraData": {"description": description},
        }
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(f"{self.service.url}/v1/chats/connect", json=body, headers=headers, timeout=30)

    def cases(self, description: str) -> int:
        """How many cases have this description."""
        return sum(case.get("Description") == description for case in self.simulator.records("Case"))


@pytest.fixture(scope="module")
def desk_bench() -> Iterator[DeskBench]:
    with Simulator(**DESK, hold_s=2, poll_timeout_s=3) as simulator, TcpProxy(simulator.port) as proxy:
        bench = DeskBench(simulator, proxy)
        with bench.service:
            bench.caller.log_in()
            yield bench


@pytest.fixture
def desk(desk_bench: DeskBench) -> Iterator[DeskBench]:
    """The shared service; afterwards no poll has overlapped and nothing crashed."""
    overlaps, logged = desk_bench.simulator.overlapping_polls(), len(desk_bench.service.log_text())
    yield desk_bench
    desk_bench.simulator.faults.clear()
    desk_bench.simulator.configure(request_limit_exceeded=False, repeated_number="accept")
    desk_bench.proxy.calm()
    for chat in desk_bench.simulator.chats("active"):
        chat.end("agent")
    log = desk_bench.service.log_text()[logged:]
    print(log[-20_000:])  # pytest shows it where a test failed
    assert "Traceback" not in log
    assert desk_bench.simulator.overlapping_polls() == overlaps


# --- storms -----------------------------------------------------------------------------------------------------------


def test_polls_that_return_at_once_with_204_are_slowed_to_one_a_second(desk: DeskBench) -> None:
    talks = desk.talks(3)
    sessions = [desk.session(talk) for talk in talks]
    storms = [desk.simulator.add_fault(POLL, session=session, status=204, times=0) for session in sessions]
    gevent.sleep(STORM_S)
    asked = [storm.hits for storm in storms]
    desk.simulator.faults.clear()
    # Six at once before it counts as a storm, then one a second.
    assert all(2 <= hits <= 6 + STORM_S + 2 for hits in asked), asked
    talks.exchange()
    talks.must_be_whole()


# --- a session that moves ---------------------------------------------------------------------------------------------


def _break(desk: DeskBench, talk: Talk) -> None:
    desk.simulator.break_session(talk.user)


def _break_at_the_post(desk: DeskBench, talk: Talk) -> None:
    desk.simulator.add_fault(POST, session=desk.session(talk), status=503, body="Invalid Affinity Token", times=2)


def _break_at_the_poll(desk: DeskBench, talk: Talk) -> None:
    desk.simulator.add_fault(POLL, session=desk.session(talk), status=503, body="Invalid Affinity Token", times=2)


def _break_at_both(desk: DeskBench, talk: Talk) -> None:
    _break_at_the_post(desk, talk)
    _break_at_the_poll(desk, talk)


def _break_after_the_post_was_done(desk: DeskBench, talk: Talk) -> None:
    desk.simulator.add_fault(POST, session=desk.session(talk), status=503, act=True)
    desk.simulator.break_session(talk.user)


def _break_again_after_the_repair(desk: DeskBench, talk: Talk) -> None:
    repairs = desk.simulator.chat(talk.user).repairs

    def again() -> None:
        desk.simulator.wait_for(lambda: desk.simulator.chat(talk.user).repairs > repairs, 15)
        desk.simulator.break_session(talk.user)

    desk.simulator.break_session(talk.user)
    gevent.spawn(again)


BREAKS: tuple[Callable[[DeskBench, Talk], None], ...] = (
    _break,
    _break_at_the_post,
    _break_at_the_poll,
    _break_at_both,
    _break_after_the_post_was_done,
    _break_again_after_the_repair,
)


def test_sessions_that_answer_503_are_repaired_and_texts_arrive_in_order_and_once(desk: DeskBench) -> None:
    talks = desk.talks(len(BREAKS))
    talks.exchange()
    for talk, broken in zip(talks, BREAKS, strict=True):
        broken(desk, talk)
    talks.exchange(rounds=4)
    talks.must_be_whole()
    talks.exchange()
    talks.must_be_whole()
    repaired = [desk.simulator.chat(user).repairs for user in talks.users]
    assert repaired[0] == 1
    assert repaired[-1] == 2


# --- conflicts --------------------------------------------------------------------------------------------------------


def test_a_poll_that_is_in_conflict_pauses_and_the_chat_goes_on(desk: DeskBench) -> None:
    talks = desk.talks()
    [talk] = talks
    conflict = desk.simulator.add_fault(
        POLL, session=desk.session(talk), status=409, body="Duplicate Long Polling", times=3
    )
    desk.simulator.wait_for(lambda: conflict.hits >= 1, 15)
    first_s = time.monotonic()
    desk.simulator.wait_for(lambda: conflict.hits == 3, 30)
    # Any other failure is tried again after a back-off that is much shorter at first.
    assert time.monotonic() - first_s > 1.5 * OVERLAP_PAUSE_S
    talks.exchange()
    talks.must_be_whole()


def test_a_post_whose_answer_was_lost_is_known_by_its_number_in_the_conflict(desk: DeskBench) -> None:
    desk.simulator.configure(repeated_number="refuse")
    talks = desk.talks()
    [talk] = talks
    lost = desk.simulator.add_fault(POST, session=desk.session(talk), drop="after", times=1)
    text = talks.write(talk)
    talks.exchange(rounds=3)
    talks.must_be_whole()
    assert lost.hits == 1
    assert desk.simulator.entries("post_out_of_sync", talk.user)
    assert desk.simulator.agent_texts(talk.user).count(text) == 1


def test_a_post_with_a_wrong_number_is_sent_again_with_the_number_that_the_desk_expects(desk: DeskBench) -> None:
    talks = desk.talks(2)
    behind, ahead = talks
    for talk, actual in ((behind, 0), (ahead, 7)):
        desk.simulator.add_fault(
            POST, session=desk.session(talk), status=409, body=f"Out of sync Ack. Expected 9. Actual {actual}"
        )
    talks.exchange(rounds=3)
    talks.must_be_whole()


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_session_that_is_gone_ends_the_chat_and_sets_the_bots_state(desk: DeskBench) -> None:
    talks = desk.talks()
    [talk] = talks
    desk.simulator.lose_session(talk.user)
    desk.must_be_told(talk.user, "from-sf-timeout")
    talks.open()
    talks.exchange()
    talks.must_be_whole()


def test_an_org_whose_requests_are_used_up_refuses_connects_and_chats_go_on(desk: DeskBench) -> None:
    talks = desk.talks()
    desk.simulator.configure(request_limit_exceeded=True)
    refused = desk.strangers().users[0]
    began_s = time.monotonic()
    assert desk.caller.connect(refused) in (502, 504)
    assert time.monotonic() - began_s < CONNECT_S
    talks.exchange()
    talks.must_be_whole()
    desk.must_be_told(refused, "from-sf-timeout")
    desk.simulator.configure(request_limit_exceeded=False)
    assert desk.caller.connect(refused) == 200


# --- garbage ----------------------------------------------------------------------------------------------------------

GARBAGE: dict[str, dict[str, Any]] = {
    "bytes that make no sense": {"garbage": True},
    "cut off": {"status": 200, "body": '{"messages": [{"type": "ChatMessage", "message": {"te'},
    "a page": {"status": 200, "body": "<html><body>Down for maintenance</body></html>"},
    "wrong types": {"status": 200, "body": '{"messages": "none", "sequence": "x", "offset": []}'},
    "nothing": {"status": 200, "body": ""},
    "null": {"status": 200, "body": "null"},
    "too deep": {"status": 200, "body": "[" * 100_000},
    "too large": {"status": 200, "body": "x" * 50_000_000},
    "a false gzip": {"status": 200, "body": "not gzip at all", "headers": {"Content-Encoding": "gzip"}},
}


def test_polls_that_are_answered_with_garbage_are_asked_again(desk: DeskBench) -> None:
    talks = desk.talks(len(GARBAGE))
    faults = [
        desk.simulator.add_fault(POLL, session=desk.session(talk), **garbage)
        for talk, garbage in zip(talks, GARBAGE.values(), strict=True)
    ]
    talks.exchange(rounds=2)
    desk.simulator.wait_for(lambda: all(fault.hits for fault in faults), 10)
    talks.exchange()
    talks.must_be_whole()


def test_unknown_events_do_not_end_the_chat(desk: DeskBench) -> None:
    talks = desk.talks()
    [talk] = talks
    for kind, message in (
        ("Mystery", {"of": ["life"]}),
        ("ChatMessage", {"text": 5}),
        ("ChatMessage", {}),
        ("AgentTyping", {"name": None}),
        ("ChatTransferred", {"name": ["a", "list"]}),
        ("QueueUpdate", {"position": "third"}),
    ):
        desk.simulator.send_event(talk.user, kind, message)
    talks.exchange(rounds=2)
    talks.must_be_whole()


def test_connects_that_are_answered_with_garbage_make_one_case(desk: DeskBench) -> None:
    talks = desk.strangers(4)
    paths = ("*/composite", "*/sobjects/Contact", CASE, "*/Chasitor/ChasitorInit")
    for path, user in zip(paths, talks.users, strict=True):
        # What Salesforce is asked holds the user's address, and what the desk is asked the user's name; a case neither.
        fault = desk.simulator.add_fault(path, contains="" if path == CASE else user, garbage=True)
        assert desk.caller.connect(user) == 200
        assert fault.hits == 1
    talks.await_agents()
    talks.exchange()
    talks.must_be_whole()
    for user in talks.users:
        [contact] = [contact for contact in desk.simulator.records("Contact") if contact.get("LastName") == user]
        assert len([case for case in desk.simulator.records("Case") if case["ContactId"] == contact["Id"]]) == 1
        assert len(desk.simulator.entries("chat_requested", user)) == 1


# --- slow and broken connections --------------------------------------------------------------------------------------


def test_answers_that_are_slow_or_cut_off_lose_nothing(desk: DeskBench) -> None:
    talks = desk.talks(4)
    talks.exchange()
    cut_post, cut_poll, slow_post, slow_poll = talks
    troubles = [
        desk.proxy.cut(talks.next_text(cut_post).encode(), after=60),
        desk.proxy.cut(b"System/Messages", desk.simulator.chat(cut_poll.user).key.encode(), after=200),
        desk.proxy.drip(talks.next_text(slow_post).encode(), every_s=1.0),
        desk.proxy.drip(b"System/Messages", desk.simulator.chat(slow_poll.user).key.encode(), every_s=0.5),
    ]
    began_s = time.monotonic()
    talks.exchange(rounds=3)
    talks.must_be_whole(timeout_s=GIVEN_UP_S)
    assert [trouble.hits for trouble in troubles] == [1, 1, 1, 1]
    assert time.monotonic() - began_s < GIVEN_UP_S


# --- Salesforce says wait ---------------------------------------------------------------------------------------------


def _date(in_s: float) -> dict[str, str]:
    now_s = time.time()
    return {"Date": formatdate(now_s, usegmt=True), "Retry-After": formatdate(now_s + in_s, usegmt=True)}


class Answer:
    """What Salesforce does to the first request for a case, and what becomes of the connect."""

    def __init__(self, fault: dict[str, Any], *, status: int = 200, least_s: float = 0.0) -> None:
        self.fault = fault
        self.status = status
        self.least_s = least_s


SAYS_WAIT = {
    "a number": Answer({"status": 429, "headers": {"Retry-After": "2"}}, least_s=2.0),
    # A date has whole seconds.
    "a date": Answer({"status": 429, "headers": _date(3)}, least_s=2.0),
    "a negative number": Answer({"status": 429, "headers": {"Retry-After": "-1"}}),
    "a number out of all bounds": Answer({"status": 429, "headers": {"Retry-After": "1000000000"}}, status=504),
    "an error": Answer({"status": 500, "body": "[]"}),
    "an error after it was done": Answer({"status": 500, "body": "[]", "act": True}),
    "an answer that comes late": Answer({"act": True, "delay_s": 4}, least_s=4.0),
    "no answer at all": Answer({"status": 500, "delay_s": 30}, status=504),
}


def test_retry_after_of_salesforce_is_obeyed_and_one_case_is_made(desk: DeskBench) -> None:
    names = [f"{name} {now_ms()}" for name in SAYS_WAIT]
    talks = desk.strangers(len(SAYS_WAIT))
    for name, answer in zip(names, SAYS_WAIT.values(), strict=True):
        desk.simulator.add_fault(CASE, contains=name, **answer.fault)
    asked = [gevent.spawn(_timed_connect, desk, user, name) for user, name in zip(talks.users, names, strict=True)]
    gevent.joinall(asked, timeout=30, raise_error=True)
    for user, name, answer, ask in zip(talks.users, names, SAYS_WAIT.values(), asked, strict=True):
        status, took_s = ask.value
        assert (status, took_s >= answer.least_s, took_s < CONNECT_S) == (answer.status, True, True), (name, took_s)
        assert desk.cases(name) == (answer.status == 200), name
        if answer.status != 200:
            desk.must_be_told(user, "from-sf-timeout")
            assert desk.connect_with(user, description=name).status_code == 200
            assert desk.cases(name) == 1, name


def _timed_connect(desk: DeskBench, user: str, name: str) -> tuple[int, float]:
    began_s = time.monotonic()
    status = desk.connect_with(user, description=name).status_code
    return status, time.monotonic() - began_s
