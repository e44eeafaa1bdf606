"""Every operation of the API as a table: `app` serves them, `openapi` describes them, a test compares the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.channels.integrations.messenger import FacebookBody
from bridge.channels.integrations.whatsapp import WhatsAppBody
from bridge.http.answers import Done, Ready, Token, TokenOwner, Welcome
from bridge.http.payloads import PROVIDERS, ChatPayload, Credentials
from bridge.inputs import USER_ID_PATTERN
from bridge.records import ContextEntry

ALWAYS = (500, 503)
BODY = (400, 408, 413)
GUARDED = (401, 403)


class Operation(NamedTuple):
    """One operation: its method and path, its answer, the statuses of its refusals, and the type of its body."""

    method: str
    path: str
    section: str
    summary: str
    answer: Any
    refusals: tuple[int, ...] = ()
    body: Any = None
    guarded: bool = False


CHATS, BOT, WEBHOOKS, TOKENS, SERVICE = "Chats", "What was said", "Registration", "Tokens", "The service"

OPERATIONS = (
    Operation("post", "/v1/authenticate", TOKENS, "Get a token for a login", Token, (401, 429, *BODY), Credentials),
    Operation("get", "/v1/tokens/check", TOKENS, "Read a token: its owner and role", TokenOwner, guarded=True),
    Operation(
        "post",
        "/v1/chats/connect",
        CHATS,
        "Open a chat with an agent",
        Done,
        (409, 502, 504, *BODY),
        ChatPayload,
        guarded=True,
    ),
    Operation(
        "delete", "/v1/chat/finish/{user_id}", CHATS, "End a user's chat", Done, (400, 404, 409, 502, 504), guarded=True
    ),
    Operation(
        "get",
        "/v1/context/{user_id}",
        BOT,
        "Read the last 24 hours outside a chat",
        list[ContextEntry],
        (400, 504),
        guarded=True,
    ),
    Operation(
        "post", "/v1/integrations/whatsapp/webhook", BOT, "Deliver a WhatsApp message", Done, (403, *BODY), WhatsAppBody
    ),
    Operation(
        "post", "/v1/integrations/facebook/webhook", BOT, "Deliver Messenger events", Done, (403, *BODY), FacebookBody
    ),
    Operation(
        "post",
        "/v1/integrations/webhook/register/{provider}",
        WEBHOOKS,
        "Register our webhook",
        Done,
        (400,),
        guarded=True,
    ),
    Operation(
        "delete",
        "/v1/integrations/webhook/remove/{provider}",
        WEBHOOKS,
        "Remove our webhook",
        Done,
        (400,),
        guarded=True,
    ),
    Operation("get", "/v1/welcome", SERVICE, "Name and version", Welcome),
    Operation("get", "/v1/live", SERVICE, "Whether the process answers", Done),
    Operation("get", "/v1/ready", SERVICE, "Whether it may be given work", Ready),
)

PATH_SCHEMAS: Mapping[str, dict[str, Any]] = {
    "user_id": {"type": "string", "pattern": USER_ID_PATTERN, "examples": ["5217331175599"]},
    "provider": {"type": "string", "enum": list(PROVIDERS)},
}

EXAMPLES: Mapping[Any, dict[str, Any]] = {
    ChatPayload: {
        "userID": "5217331175599",
        "botSlug": "coppel-bot",
        "botId": "521554578545",
        "name": "Eduardo Ochoa",
        "provider": "whatsapp",
        "email": "ochoa@example.com",
        "phoneNumber": "5217331175599",
        "extraData": {"source_flow_bot": "SFB001"},
    },
    Credentials: {"username": "yaloUser", "password": "…"},
    WhatsAppBody: {
        "from": "5217331175599",
        "id": "ABGHUhVXNzUALwIQZWnmjBi7IBmf",
        "text": {"body": "Hola"},
        "timestamp": "1632367928574",
        "type": "text",
    },
    FacebookBody: {
        "authorRole": "user",
        "message": {
            "entry": [
                {
                    "messaging": [
                        {
                            "message": {"mid": "m_rhq1CGI9", "text": "Hola"},
                            "recipient": {"id": "233726951928054"},
                            "sender": {"id": "5018811078134037"},
                            "timestamp": 1632348042261,
                        }
                    ]
                }
            ]
        },
    },
}
