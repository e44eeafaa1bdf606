"""SOQL, the part that is needed: SELECT fields FROM object WHERE … ORDER BY … LIMIT … OFFSET …, parsed strictly.

Literals are escaped as salesforce.md, "SOQL strings" says; what does not parse is MALFORMED_QUERY, as over there.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import msgspec

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<op><=|>=|!=|<>|=|<|>)|(?P<punct>[(),])"
    r"|(?P<moment>\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][A-Za-z0-9_.]*))",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)


class Malformed(Exception):
    """The query cannot be understood."""


class Literal(msgspec.Struct, frozen=True):
    """A value and how it was written: string, number, moment, boolean or null."""

    kind: str
    value: Any


_CONSTANTS = {"TRUE": Literal("boolean", True), "FALSE": Literal("boolean", False), "NULL": Literal("null", None)}


class Comparison(msgspec.Struct, frozen=True):
    """One condition; `value` is a list for IN and NOT IN."""

    field: str
    op: str
    value: Literal | list[Literal]


class Junction(msgspec.Struct, frozen=True):
    """Conditions joined by `and`, `or`, or one that is negated by `not`."""

    word: str
    parts: list[Comparison | Junction]


Condition = Comparison | Junction


class Order(msgspec.Struct, frozen=True):
    """One key of ORDER BY."""

    field: str
    descending: bool = False
    nulls_last: bool = False


class Query(msgspec.Struct, kw_only=True):
    """A query as written; names are not checked here."""

    fields: list[str]
    object: str
    where: Condition | None = None
    order: list[Order] = []
    limit: int | None = None
    offset: int = 0


def parse(text: str) -> Query:
    """The query. Raises Malformed."""
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def query(self) -> Query:
        self._expect("SELECT")
        fields = self._list(self._name)
        self._expect("FROM")
        query = Query(fields=fields, object=self._name())
        if self._accept("WHERE"):
            query.where = self._condition()
        if self._accept("ORDER"):
            self._expect("BY")
            query.order = self._list(self._order)
        query.limit = self._count() if self._accept("LIMIT") else None
        query.offset = self._count() if self._accept("OFFSET") else 0
        if self._kind() != "end":
            self._unexpected()
        return query

    def _condition(self) -> Condition:
        parts = [self._part()]
        word = ""
        while self._upper() in ("AND", "OR"):
            # Mixing them without parentheses is an error over there too.
            if word and self._upper() != word:
                self._unexpected()
            word = self._next()[1].upper()
            parts.append(self._part())
        return Junction(word.lower(), parts) if word else parts[0]

    def _part(self) -> Condition:
        if self._accept("NOT"):
            return Junction("not", [self._part()])
        if self._accept("("):
            condition = self._condition()
            self._expect(")")
            return condition
        return self._comparison()

    def _comparison(self) -> Comparison:
        field = self._name()
        if self._accept("NOT"):
            self._expect("IN")
            return Comparison(field, "not in", self._parenthesised())
        if self._accept("IN"):
            return Comparison(field, "in", self._parenthesised())
        if self._accept("LIKE"):
            return Comparison(field, "like", self._literal(like=True))
        if self._kind() != "op":
            self._unexpected()
        op = self._next()[1]
        return Comparison(field, "!=" if op == "<>" else op, self._literal())

    def _parenthesised(self) -> list[Literal]:
        self._expect("(")
        literals = self._list(self._literal)
        self._expect(")")
        return literals

    def _literal(self, like: bool = False) -> Literal:
        kind, text = self._next()
        if kind == "string":
            return Literal("string", _unescape(text[1:-1], like))
        if kind == "number":
            return Literal("number", float(text) if "." in text else int(text))
        if kind == "moment":
            return Literal("moment", text)
        if kind != "word" or text.upper() not in _CONSTANTS:
            self._at -= 1
            self._unexpected()
        return _CONSTANTS[text.upper()]

    def _order(self) -> Order:
        field = self._name()
        descending = self._accept("DESC")
        if not descending:
            self._accept("ASC")
        if self._accept("NULLS"):
            last = self._accept("LAST")
            if not last:
                self._expect("FIRST")
            return Order(field, descending, last)
        return Order(field, descending)

    def _list(self, item: Any) -> list[Any]:
        items = [item()]
        while self._accept(","):
            items.append(item())
        return items

    def _name(self) -> str:
        if self._kind() != "word":
            self._unexpected()
        return self._next()[1]

    def _count(self) -> int:
        kind, text = self._next()
        if kind != "number" or not text.isdecimal():
            self._at -= 1
            self._unexpected()
        return int(text)

    def _kind(self) -> str:
        return self._tokens[self._at][0]

    def _upper(self) -> str:
        kind, text = self._tokens[self._at]
        return text.upper() if kind in ("word", "punct") else ""

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        if token[0] == "end":
            self._unexpected()
        self._at += 1
        return token

    def _accept(self, word: str) -> bool:
        found = self._upper() == word
        self._at += found
        return found

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            self._unexpected()

    def _unexpected(self) -> NoReturn:
        raise Malformed(f"unexpected token: '{self._tokens[self._at][1] or '<EOF>'}'")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise Malformed(f"line 1:{at} no viable alternative at character '{text[at]}'")
        tokens.append((str(found.lastgroup), str(found.group(found.lastgroup or 0))))
        at = found.end()
    return [*tokens, ("end", "")]


def _unescape(text: str, like: bool) -> str:
    """The string that was meant; in LIKE `\\_` and `\\%` stay escaped for the pattern."""

    def one(found: re.Match[str]) -> str:
        code = found.group(1)
        if code[0] == "u" and len(code) == 5:
            return chr(int(code[1:], 16))
        if like and code in "_%":
            return "\\" + code
        if code not in _ESCAPES:
            raise Malformed(f"Invalid string literal: illegal character sequence '\\{code}' in string literal")
        return _ESCAPES[code]

    return _ESCAPE.sub(one, text)
