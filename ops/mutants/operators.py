"""The faults: what each kind of node of a syntax tree can be replaced by."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

_OPPOSITES: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
}  # fmt: skip
# Nothing in these runs as a rule: types, names, imports, and sentences for people.
_SKIPPED = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Raise, ast.Assert)
_SENTENCES = ("warning", "info", "debug", "error", "exception")


class Mutant(msgspec.Struct, frozen=True):
    """One fault: the `number`-th of its module, and what it changes where."""

    module: str
    number: int
    line: int
    change: str


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every fault that can be put into a module."""
    return [
        Mutant(module, number, getattr(old, "lineno", 0), f"{_shown(old)}  →  {_shown(new)}")
        for number, (old, new) in enumerate(_replacements(ast.parse(source)))
    ]


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """The module with that fault in it."""
    tree = ast.parse(source)
    for number, (old, new) in enumerate(_replacements(tree)):
        if number == mutant.number:
            _replace(tree, old, new)
            return ast.fix_missing_locations(tree)
    raise LookupError(f"{mutant.module} has no mutant {mutant.number}")


def _replacements(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    for node in _running_nodes(tree):
        for kind, replace in _KINDS.items():
            if isinstance(node, kind):
                for new in replace(node):
                    yield node, ast.copy_location(new, node) if isinstance(new, ast.expr | ast.stmt) else new


def _running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Depth first, without docstrings, annotations, imports and log lines."""
    if isinstance(node, _SKIPPED) or _is_sentence(node) or _is_type_checking(node):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _running_nodes(child)


def _is_sentence(node: ast.AST) -> bool:
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Constant):
        return True
    return isinstance(node.value, ast.Call) and getattr(node.value.func, "attr", "") in _SENTENCES


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])
                return


def _shown(node: ast.AST) -> str:
    text = f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else " ".join(ast.unparse(node).split())
    return text if len(text) <= 70 else f"{text[:67]}…"


# --- the kinds --------------------------------------------------------------------------------------------------------


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    value: Any = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and value:
        yield ast.Constant(f"{value}~")


def _comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for index, operator in enumerate(node.ops):
        if opposite := _OPPOSITES.get(type(operator)):
            changed = copy.deepcopy(node)
            changed.ops[index] = opposite()  # type: ignore[call-overload]  # a table of classes, of one kind each
            yield changed


def _connections(node: ast.BoolOp) -> Iterator[ast.AST]:
    """`and` for `or`, and each operand left out."""
    yield ast.BoolOp(_OPPOSITES[type(node.op)](), node.values)  # type: ignore[arg-type]
    for index in range(len(node.values)):
        rest = [value for number, value in enumerate(node.values) if number != index]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    if opposite := _OPPOSITES.get(type(node.op)):
        yield ast.BinOp(node.left, opposite(), node.right)  # type: ignore[arg-type]


def _negations(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not):
        yield node.operand


def _branches(node: ast.If | ast.IfExp) -> Iterator[ast.AST]:
    for decided in (True, False):
        changed = copy.copy(node)
        changed.test = ast.Constant(decided)
        yield changed


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    yield ast.Pass()


def _returns(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))


def _tables(node: ast.Dict) -> Iterator[ast.AST]:
    """Each row of a table left out."""
    if len(node.keys) > 1:
        for index in range(len(node.keys)):
            yield ast.Dict(*([*row[:index], *row[index + 1 :]] for row in (node.keys, node.values)))


_KINDS: dict[type[ast.AST] | tuple[type[ast.AST], ...], Callable[[Any], Iterator[ast.AST]]] = {
    ast.Constant: _constants,
    ast.Compare: _comparisons,
    ast.BoolOp: _connections,
    ast.BinOp: _arithmetic,
    ast.UnaryOp: _negations,
    (ast.If, ast.IfExp): _branches,
    (ast.Expr, ast.AugAssign): _statements,
    ast.Return: _returns,
    ast.Dict: _tables,
}
