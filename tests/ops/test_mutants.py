"""The mutants: which faults are put into a module, and that each is another program."""

from __future__ import annotations

import ast

import pytest

from bridge.ops.mutants import run
from bridge.ops.mutants.operators import mutants_of, mutated

SOURCE = '''
"""Text is not a rule."""
LIMIT_S = 3
TABLE = {"a": 1, "b": 2}

def late(age_s: int, paused: bool = False) -> bool:
    """Neither is this."""
    if age_s > LIMIT_S and not paused:
        log.warning("nor this")
        return True
    return False
'''


def test_every_kind_of_fault_is_found() -> None:
    changes = {mutant.change for mutant in mutants_of("m", SOURCE)}
    assert {
        "3  →  4",
        "age_s > LIMIT_S  →  age_s >= LIMIT_S",
        "age_s > LIMIT_S and (not paused)  →  age_s > LIMIT_S or not paused",
        "not paused  →  paused",
        "False  →  True",
        "{'a': 1, 'b': 2}  →  {'b': 2}",
    } <= changes


def test_docstrings_annotations_and_log_lines_are_left_alone() -> None:
    changes = " ".join(mutant.change for mutant in mutants_of("m", SOURCE))
    assert "Neither" not in changes
    assert "nor this" not in changes
    assert "int" not in changes


@pytest.mark.parametrize("number", range(len(mutants_of("m", SOURCE))))
def test_each_fault_changes_the_program_in_one_place(number: int) -> None:
    tree = mutated(SOURCE, mutants_of("m", SOURCE)[number])
    compile(tree, "m", "exec")
    assert ast.unparse(tree) != ast.unparse(ast.parse(SOURCE))


def test_the_rules_have_faults_to_try_in_every_module() -> None:
    modules = {mutant.module for mutant in run.all_mutants()}
    assert {
        "bridge.chat.machine",
        "bridge.chat.actions.opening",
        "bridge.chat.pending",
        "bridge.chat.retries",
    } <= modules


def test_property_tests_come_last_and_only_when_asked_for() -> None:
    quick, thorough = run.test_files(thorough=False), run.test_files(thorough=True)
    assert not [name for name in quick if "properties" in name]
    assert thorough[: len(quick)] == quick
    assert "properties" in thorough[-1]


def test_the_score_is_the_share_of_faults_that_were_noticed() -> None:
    survivors = mutants_of("m", SOURCE)[:1]
    assert run.Score(all=10, run=4, survivors=survivors).percent == 75.0
    assert run.Score().percent == 0.0
