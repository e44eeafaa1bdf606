"""The plan of the house as data: who may import whom, how long a module may be, which words no comment uses."""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINKS = ("actors", "http", "ops")
CODE = ("bridge", "actors", "http", "ops")

# From the bottom to the top. A part may import itself and the parts that it names, which all stand above it here.
# A module belongs to the longest name that fits. `tests` is not in the plan: tests import everything.
MAY_IMPORT: dict[str, set[str]] = {
    "bridge": set(),
    "bridge.chat": {"bridge"},
    "bridge.settings": {"bridge"},
    "bridge.codecs": {"bridge"},
    "bridge.channels": {"bridge"},
    "bridge.channels.table": {"bridge", "bridge.settings", "bridge.channels"},
    "bridge.settings.wiring": {"bridge", "bridge.chat", "bridge.settings", "bridge.codecs"},
    "bridge.actors": {"bridge"},
    "bridge.actors.store": {"bridge", "bridge.settings", "bridge.actors"},
    "bridge.actors.inbox.engine": {"bridge", "bridge.actors", "bridge.actors.store"},
    "bridge.actors.inbox": {
        "bridge", "bridge.settings", "bridge.actors", "bridge.actors.store", "bridge.actors.inbox.engine"
    },
    "bridge.actors.chats": {
        "bridge", "bridge.chat", "bridge.actors", "bridge.actors.store", "bridge.actors.inbox.engine"
    },
    "bridge.actors.outbound": {
        "bridge", "bridge.settings", "bridge.codecs", "bridge.channels", "bridge.channels.table",
        "bridge.settings.wiring", "bridge.actors",
    },
    "bridge.actors.door": {
        "bridge", "bridge.actors", "bridge.actors.store", "bridge.actors.inbox.engine", "bridge.actors.inbox",
        "bridge.actors.outbound",
    },
    "bridge.actors.system": {
        "bridge", "bridge.chat", "bridge.settings", "bridge.codecs", "bridge.channels", "bridge.channels.table",
        "bridge.settings.wiring", "bridge.actors", "bridge.actors.store", "bridge.actors.inbox.engine",
        "bridge.actors.inbox", "bridge.actors.chats", "bridge.actors.outbound", "bridge.actors.door",
    },
    "bridge.http": {"bridge", "bridge.settings", "bridge.channels", "bridge.channels.table"},
    "bridge.ops": {
        "bridge", "bridge.chat", "bridge.settings", "bridge.codecs", "bridge.settings.wiring", "bridge.actors",
        "bridge.actors.store", "bridge.actors.inbox", "bridge.actors.outbound", "bridge.actors.system", "bridge.http",
    },
    "bridge.ops.migration": {"bridge", "bridge.settings", "bridge.ops"},
    "bridge.ops.mutants": set(),
    "bridge.ops.simulator": {"bridge", "bridge.settings", "bridge.ops"},
    "bridge.ops.model": {
        "bridge", "bridge.settings", "bridge.chat", "bridge.actors", "bridge.actors.store", "bridge.actors.inbox",
        "bridge.actors.chats", "bridge.ops", "bridge.ops.simulator",
    },
    "bridge.ops.endurance": {"bridge", "bridge.settings", "bridge.ops", "bridge.ops.simulator"},
    "bridge.ops.bench": {"bridge", "bridge.settings", "bridge.ops", "bridge.ops.simulator", "bridge.ops.endurance"},
    "bridge.ops.demo": {"bridge", "bridge.settings", "bridge.ops", "bridge.ops.simulator"},
    "bridge.ops.cli": {
        "bridge", "bridge.settings", "bridge.ops", "bridge.ops.simulator", "bridge.ops.endurance", "bridge.ops.bench",
        "bridge.ops.demo", "bridge.ops.migration",
    },
}  # fmt: skip
# These parts have no folders besides those in the plan.
FLAT = ("bridge", "bridge.actors", "bridge.http", "bridge.ops")

LONGEST_MODULE = 320
MEDIAN_FUNCTION = 10

# Words that send a reader to the dictionary, or that say less than the API's own name.
BANNED = re.compile(
    r"\b(nought|(?:is|are|was|were) (?-i:none)|bur(?:y|ies|ied|ying)|hearts?|breaths?|hush\w*|salvag\w*"
    r"|wh(?:at|o|om) that|fell|fallen|falls?(?! back)|dances?|puppets?|anew|nobody's|spared|parked)\b",
    re.IGNORECASE,
)


# What is still to be mended. Each line goes with its mend, and then the set.
NOT_YET = {
    "bridge.actors.chats.interconnection",
    "bridge.ops.simulator.org",
}


# --- modules ----------------------------------------------------------------------------------------------------------


def files(folder: str) -> list[Path]:
    """Every Python file of a folder, but none that only a link leads to."""
    found = [path for path in (ROOT / folder).rglob("*.py") if ".build" not in path.parts]
    return sorted(path for path in found if path.resolve().is_relative_to(ROOT / folder))


def name_of(path: Path) -> str:
    """The import name: `bridge.actors.base` for actors/base.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "bridge" else ("bridge", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Our modules by their import names."""
    return {name_of(path): path for folder in CODE for path in files(folder)}


@cache
def tree_of(path: Path) -> ast.Module:
    """The module, parsed."""
    return ast.parse(path.read_text("utf-8"))


def part_of(name: str) -> str:
    """The part of the plan that a module belongs to."""
    return max((part for part in MAY_IMPORT if name == part or name.startswith(f"{part}.")), key=len)


def own_imports(path: Path) -> set[str]:
    """Those of our modules that a module imports, wherever it does so, and for type checking as well."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules())
            found |= submodules or {node.module}
    return found & set(modules())


def forbidden_imports() -> set[str]:
    """Every import that the plan does not allow, as a sentence."""
    return {
        f"{name} imports {imported}"
        for name, path in modules().items()
        for imported in own_imports(path)
        if part_of(imported) not in MAY_IMPORT[part_of(name)] | {part_of(name)}
    }


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of nodes that reach each other."""
    reach = {name: _reachable(graph, name) for name in graph}
    found = {frozenset({name, *(other for other in seen if name in reach[other])}) for name, seen in reach.items()}
    return [set(circle) for circle in found if len(circle) > 1]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        fresh = graph[ahead.pop()] - seen
        seen |= fresh
        ahead.extend(fresh)
    return seen


# --- sizes and words --------------------------------------------------------------------------------------------------


def lines_of(path: Path) -> int:
    """How many lines the file has."""
    return len(path.read_text("utf-8").splitlines())


def function_lengths(folder: str) -> dict[str, int]:
    """The lines of every function of a folder, decorators left out."""
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in files(folder)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def median_length(folder: str) -> float:
    """The middle one of those lengths."""
    return statistics.median(function_lengths(folder).values())


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every comment and docstring, with the line where it begins."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def banned_words(path: Path) -> Iterator[str]:
    """Each banned word of a module, with its place."""
    for line, text in prose_of(path):
        for match in BANNED.finditer(re.sub("`[^`]*`", "", text)):
            yield f"{path.relative_to(ROOT)}:{line}: {match.group()!r} in {text.splitlines()[0][:90]!r}"
