"""Runs the tests of the chat's rules once for each mutant, each time in a forked process of its own."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec

from bridge.ops.mutants.operators import Mutant, mutants_of, mutated

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "bridge" / "chat"
TESTS = ROOT / "tests" / "bridge" / "chat"
LIMIT_S = 30
# The rules do no I/O: without gevent and the plugins a run takes a fraction of the time.
OPTIONS = ["-c", str(ROOT / "tests" / "pytest.ini"), "-o", "addopts=", "--noconftest", "-x", "-q", "--tb=no"]
PLUGINS = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:timeout"]
# Imported before the forks, so that no child has to. Never the rules themselves: each child imports its own.
PRELOADED = ("pytest", "hypothesis.stateful", "bridge.errors", "bridge.events", "bridge.commands", "bridge.records")


class Score(msgspec.Struct, kw_only=True):
    """How many mutants there are, how many were run, and those that no test noticed."""

    all: int = 0
    run: int = 0
    survivors: list[Mutant] = []

    @property
    def percent(self) -> float:
        """The share of those run that a test noticed."""
        return 100.0 * (self.run - len(self.survivors)) / self.run if self.run else 0.0


class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with the fault in it."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._path = RULES.joinpath(*mutant.module.removeprefix("bridge.chat.").split(".")).with_suffix(".py")

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Ours for that module alone."""
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Runs the changed module."""
        tree = mutated(self._path.read_text("utf-8"), self._mutant)
        exec(compile(tree, self._path, "exec"), vars(module))


def _module(path: Path) -> str:
    return ".".join(("bridge", "chat", *path.relative_to(RULES).with_suffix("").parts))


def all_mutants() -> list[Mutant]:
    """Every fault of every module of the rules, in an order that is random and always the same."""
    found = [
        mutant
        for path in sorted(RULES.rglob("*.py"))
        if path.name != "__init__.py"
        for mutant in mutants_of(_module(path), path.read_text("utf-8"))
    ]
    random.Random(1).shuffle(found)
    return found


def test_files(*, thorough: bool) -> list[str]:
    """The tests' files; those with properties are slow and come last, if at all."""
    files = sorted(TESTS.glob("test_*.py"), key=lambda path: ("properties" in path.name, path.name))
    return [str(path) for path in files if thorough or "properties" not in path.name]


def score(mutants: list[Mutant], *, files: list[str], processes: int, minutes: float) -> Iterator[Score]:
    """Runs them until the time is over; gives the score after each."""
    deadline_s = time.monotonic() + minutes * 60
    so_far = Score(all=len(mutants))
    for mutant, noticed in _in_parallel(mutants, files, processes, deadline_s):
        so_far.run += 1
        if not noticed:
            so_far.survivors.append(mutant)
        yield so_far


def passes(files: list[str]) -> bool:
    """Whether the tests pass as the rules are."""
    for name in PRELOADED:
        importlib.import_module(name)
    pid = _fork(None, files)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _in_parallel(
    mutants: Iterable[Mutant], files: list[str], processes: int, deadline_s: float
) -> Iterator[tuple[Mutant, bool]]:
    waiting, running = iter(mutants), dict[int, Mutant]()
    while True:
        while len(running) < processes and time.monotonic() < deadline_s and (mutant := next(waiting, None)):
            running[_fork(mutant, files)] = mutant
        if not running:
            return
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                yield running.pop(pid), status != 0
        time.sleep(0.01)


def _fork(mutant: Mutant | None, files: list[str]) -> int:
    """The process id of a child that ends with 0 when the tests pass. It is killed when it takes too long."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.alarm(LIMIT_S)
        os._exit(_run_tests(mutant, files))
    finally:
        os._exit(2)


def _run_tests(mutant: Mutant | None, files: list[str]) -> int:
    import pytest

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if mutant is not None:
        sys.meta_path.insert(0, Loader(mutant))
    # One file after the other: most faults are noticed by the first, and collecting all costs a second.
    return next((status for file in files if (status := int(pytest.main([*OPTIONS, *PLUGINS, file])))), 0)
