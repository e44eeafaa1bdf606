"""The description and the page: true to the routes, true to the answers, self-contained."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest
import schemathesis
from front_door import FrontDoorClient, RecordingDoor, settings
from hypothesis import HealthCheck
from hypothesis import settings as bounds
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bridge.http.app import create_app
from bridge.http.operations import OPERATIONS

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
APP = create_app(RecordingDoor(), settings())
TOKEN = FrontDoorClient(RecordingDoor()).log_in()
API = schemathesis.openapi.from_wsgi("/v1/openapi.json", APP)


@API.parametrize()
@bounds(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_no_request_that_can_be_thought_of_is_a_fault_of_ours(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)


def test_the_description_names_every_route(client: FrontDoorClient) -> None:
    described = client.simulate_get("/v1/openapi.json").json
    assert described["openapi"].startswith("3.1")
    operations = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert operations == {(operation.path, operation.method) for operation in OPERATIONS}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.path)
def test_every_described_route_is_there(client: FrontDoorClient, operation: Any) -> None:
    path = operation.path.format(user_id="52", provider="whatsapp")
    assert client.simulate_request(operation.method.upper(), path).status_code not in (404, 405)


def test_every_reference_leads_somewhere(client: FrontDoorClient) -> None:
    result = client.simulate_get("/v1/openapi.json")
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', result.text))
    assert references
    assert references <= set(result.json["components"]["schemas"])


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.body], ids=lambda operation: operation.path)
def test_every_example_is_taken(client: FrontDoorClient, operation: Any) -> None:
    described = client.simulate_get("/v1/openapi.json").json["paths"][operation.path]["post"]
    example = described["requestBody"]["content"]["application/json"]["example"]
    status = client.simulate_post(operation.path, json=example, headers=client.bearer()).status_code
    assert status == (401 if operation.path == "/v1/authenticate" else 200)


def test_the_page_needs_and_allows_nothing_from_outside(client: FrontDoorClient) -> None:
    result = client.simulate_get("/v1/docs")
    assert (result.status_code, result.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"^\s*//.*$", "", result.text, flags=re.M))
    policy = dict(part.split(" ", 1) for part in result.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in result.headers["content-security-policy"]
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", result.text, re.DOTALL)
        assert policy[f"{tag}-src"] == f"'sha256-{b64encode(sha256(inside.encode()).digest()).decode()}'"


def test_the_page_has_no_markup_that_its_policy_forbids(client: FrontDoorClient) -> None:
    page = client.simulate_get("/v1/docs").text
    assert not re.search(r"\sstyle=|\son[a-z]+=|innerHTML|insertAdjacentHTML|eval\(", page)
