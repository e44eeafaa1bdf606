"""/v1/openapi.json: the API's description in OpenAPI 3.1, made from the types that read bodies and write answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import falcon
import msgspec

from bridge.http.answers import Refusal
from bridge.http.operations import ALWAYS, EXAMPLES, GUARDED, OPERATIONS, PATH_SCHEMAS, Operation

REFERENCE = "#/components/schemas/{name}"
ABOUT = "A bot's users, an agent's desk, and the way between them."


class OpenApiResource:
    """Serves the description, which is built once."""

    def __init__(self, title: str, version: str) -> None:
        self._raw = msgspec.json.encode(describe(title, version))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 with the whole description."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = self._raw


def describe(title: str, version: str) -> dict[str, Any]:
    """The whole OpenAPI document."""
    kinds = [Refusal, *(operation.answer for operation in OPERATIONS), *(o.body for o in OPERATIONS if o.body)]
    references, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    schemas = dict(zip(map(repr, kinds), references, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": section} for section in dict.fromkeys(operation.section for operation in OPERATIONS)],
        "paths": _paths(schemas),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "header": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


def _paths(schemas: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schemas)
    return paths


def _described(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    refusals = sorted({*operation.refusals, *ALWAYS, *(GUARDED if operation.guarded else ())})
    described: dict[str, Any] = {
        "operationId": f"{operation.method}{operation.path.replace('/', '_').translate({123: None, 125: None})}",
        "tags": [operation.section],
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": PATH_SCHEMAS[name]}
            for name in re.findall(r"{(\w+)}", operation.path)
        ],
        "responses": {
            "200": _answer(HTTPStatus(200), schemas[repr(operation.answer)]),
            **_refusals(refusals, schemas[repr(Refusal)]),
        },
    }
    if operation.guarded:
        described["security"] = [{"header": []}, {"query": []}]
    if operation.body:
        content = {"schema": schemas[repr(operation.body)], "example": EXAMPLES[operation.body]}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _refusals(statuses: Iterable[int], schema: Any) -> dict[str, Any]:
    return {str(status): _answer(HTTPStatus(status), schema) for status in statuses}


def _answer(status: HTTPStatus, schema: Any) -> dict[str, Any]:
    return {"description": status.phrase, "content": {"application/json": {"schema": schema}}}
