"""Chats that are finished while the agent writes, and opened again: what must hold at an end."""

from __future__ import annotations

import random
import time

import gevent
import gevent.pool
import msgspec

from bridge.ops.endurance.load import Caller, Load, Talk
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.chat_parts import NotNow

LIFE_S = 12.0
ENDED_S = 30.0
TOLD_S = 60.0


class Ends(msgspec.Struct, kw_only=True):
    """Counts over all ends. `not_opened` are users who got no chat in time; all but `finished` have to be 0."""

    finished: int = 0
    not_opened: int = 0
    not_ended: int = 0
    not_told: int = 0
    told_twice: int = 0

    @property
    def clean(self) -> bool:
        """Whether every chat was opened, ended at the desk, and its bot told once."""
        return not (self.not_opened or self.not_ended or self.not_told or self.told_twice)


class Turnover(Load):
    """Both sides of each chat write at the same pace; after a while the chat is finished and opened again."""

    def __init__(self, simulator: Simulator, caller: Caller, *, chats: int, first_user: int) -> None:
        super().__init__(
            simulator, caller, chats=chats, first_user=first_user, providers=("whatsapp", "facebook"), large=0.02
        )
        self.ends = Ends()

    def start(self, *, each_s: float) -> None:
        """Each chat opens, talks, ends and opens again until `stop`."""
        for talk in self.talks:
            self._talking.spawn(self._live, talk, each_s)

    def _live(self, talk: Talk, each_s: float) -> None:
        while not self._stopped:
            if self._open(talk):
                self._talk(talk, each_s)
                self._finish(talk, each_s)

    def _open(self, talk: Talk) -> bool:
        """Connects until there is a chat, also one that an unanswered connect opened."""
        deadline_s = time.monotonic() + TOLD_S
        while time.monotonic() < deadline_s:
            if self._connect(talk) in (200, 409) and self._is_active(talk, timeout_s=ENDED_S):
                return True
            gevent.sleep(0.5)
        self.ends.not_opened += 1
        return False

    def _talk(self, talk: Talk, each_s: float) -> None:
        end_s = time.monotonic() + random.uniform(0.5, 1.5) * LIFE_S
        while time.monotonic() < end_s and not self._stopped:
            gevent.sleep(random.uniform(0, 2 * each_s))
            self._write(talk)
            self._say_if_there(talk)

    def _finish(self, talk: Talk, each_s: float) -> None:
        """The agent writes on until the desk refuses it."""
        told = self._told(talk)
        finishing = gevent.spawn(self._finish_until_answered, talk)
        end_s = time.monotonic() + ENDED_S
        while self._say_if_there(talk) and time.monotonic() < end_s:
            gevent.sleep(random.uniform(0, each_s / 5))
        finishing.join()
        self.ends.finished += 1
        self.ends.not_ended += self._is_active(talk, timeout_s=0)
        self._judge_states(talk, told)

    def _judge_states(self, talk: Talk, told: int) -> None:
        try:
            self._simulator.wait_for(lambda: self._told(talk) > told, TOLD_S)
        except TimeoutError:
            self.ends.not_told += 1
        self.ends.told_twice += max(self._told(talk) - told - 1, 0)

    def _finish_until_answered(self, talk: Talk) -> None:
        while self._caller.finish(talk.user) not in (200, 404):
            gevent.sleep(0.5)

    def _say_if_there(self, talk: Talk) -> bool:
        try:
            self._say(talk)
        except NotNow:
            return False
        return True

    def _is_active(self, talk: Talk, *, timeout_s: float) -> bool:
        try:
            self._simulator.wait_for_chat(talk.user, "active", timeout_s)
        except TimeoutError:
            return False
        return True

    def _told(self, talk: Talk) -> int:
        return self._simulator.bot_states(talk.user).count("from-sf-success")
