"""Forged webhooks: only the secret, or an HMAC with it, is a signature. The log shows neither secret nor number."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator

import pytest
from attack_target import Target
from attackers import WEBHOOK

SECRET = "canary-signature-of-the-webhook"
USER = "5219876543210"
BODY = json.dumps({"type": "text", "id": "m1", "from": USER, "text": {"body": "canary text"}}).encode()
PLAIN, SIGNED = "X-Yalo-Signature", "X-Hub-Signature-256"


def digest(body: bytes = BODY, *, key: bytes = SECRET.encode(), algorithm: str = "sha256") -> str:
    return f"{algorithm}={hmac.new(key, body, algorithm).hexdigest()}"


FORGED: dict[str, dict[str, str]] = {
    "no header": {},
    "an empty secret": {PLAIN: ""},
    "a guess": {PLAIN: "a guess"},
    "a part of the secret": {PLAIN: SECRET[:-1]},
    "more than the secret": {PLAIN: SECRET + "x"},
    "the secret in capitals": {PLAIN: SECRET.upper()},
    "the secret twice": {PLAIN: f"{SECRET},{SECRET}"},
    "the secret in the other header": {SIGNED: SECRET},
    "the digest in the other header": {PLAIN: digest()},
    "a name with underscores": {PLAIN.replace("-", "_"): SECRET},
    "another body": {SIGNED: digest(BODY + b" ")},
    "another key": {SIGNED: digest(key=b"x")},
    "an empty key": {SIGNED: digest(key=b"")},
    "SHA-1": {SIGNED: digest(algorithm="sha1")},
    "SHA-512": {SIGNED: digest(algorithm="sha512")},
    "no algorithm": {SIGNED: digest().removeprefix("sha256=")},
    "half a digest": {SIGNED: digest()[:40]},
    "bytes outside ASCII": {SIGNED: "sha256=\xff\xfe"},
}


@pytest.fixture(scope="module")
def signing_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("signing")
    with Target(folder, integrations_signature=SECRET, log_level="DEBUG") as running:
        yield running


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_signature_is_refused(signing_target: Target, case: str) -> None:
    assert signing_target.ask("POST", WEBHOOK, BODY, **FORGED[case])[0] == 403


@pytest.mark.parametrize("headers", [{PLAIN: SECRET}, {SIGNED: digest()}], ids=["plain", "HMAC"])
def test_the_right_signature_is_taken(signing_target: Target, headers: dict[str, str]) -> None:
    assert signing_target.ask("POST", WEBHOOK, BODY, **headers)[0] == 200


@pytest.mark.parametrize("path", [f"{WEBHOOK}/", f"{WEBHOOK}?x=1", WEBHOOK.replace("whatsapp", "facebook")])
def test_no_other_way_to_a_webhook_goes_round_the_signature(signing_target: Target, path: str) -> None:
    assert signing_target.ask("POST", path, BODY)[0] == 403


def test_nothing_of_it_is_in_the_log_even_at_debug(signing_target: Target) -> None:
    """The last test of this file: it looks through what all others have caused."""
    signing_target.ask("GET", f"/v1/context/{USER}?token=canary-token")
    signing_target.ask("DELETE", f"/v1/chat/finish/{USER}")
    log = signing_target.log_text()
    assert "DEBUG" in log
    assert [canary for canary in (SECRET, USER, "canary text", "canary-token") if canary in log] == []
