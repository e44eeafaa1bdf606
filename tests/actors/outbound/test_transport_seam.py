"""The transport seam: every client of a remote works over a transport that it has never seen."""

from __future__ import annotations

import msgspec
import pytest
from actor_parts import desk_session, make_settings, wants_chat

from bridge.actors.outbound.channels import BotFlowClient, UserChannel
from bridge.actors.outbound.liveagent import LiveAgentDesk
from bridge.actors.outbound.media import MediaHost
from bridge.actors.outbound.requests_transport import RequestsTransport
from bridge.actors.outbound.salesforce import SalesforceRecords, TokenKeeper
from bridge.actors.outbound.socket_transport import SocketTransport
from bridge.actors.outbound.transport import CONNECT_TIMEOUT_S, LookUp, Transport, trust
from bridge.actors.outbound.wiring import Remotes
from bridge.commands import EnsureContact, SendToAgent, SendToUser, TellBot
from bridge.errors import AnswerTooLarge, RemoteRefused, RemoteUnavailable
from bridge.events import BotTold, ContactReady, DeliveredToAgent, DeliveredToUser
from bridge.records import Delivery
from bridge.wire import LARGEST_ANSWER, HttpCall, HttpReply


class CannedTransport:
    """Answers by the end of the URL's path, from memory; keeps the calls in `sent`. No socket."""

    def __init__(self, **replies: object) -> None:
        self._replies = {path.replace("__", "/"): reply for path, reply in replies.items()}
        self.sent: list[HttpCall] = []

    def send(self, call: HttpCall) -> HttpReply:
        self.sent.append(call)
        path = call.url.partition("?")[0]
        body = next(body for end, body in self._replies.items() if path.endswith(end))
        if isinstance(body, Exception):
            raise body
        return body if isinstance(body, HttpReply) else HttpReply(200, {}, msgspec.json.encode(body))


DELIVERY = Delivery(id="c-1", text="hola", owed_since_ms=0)
CONTACT_ID = "003000000000001"
SETTINGS = make_settings()


@pytest.fixture
def remotes() -> Remotes:
    return Remotes(SETTINGS)


def test_salesforce_works_over_another_transport(remotes: Remotes) -> None:
    found = {"httpStatusCode": 200, "body": {"records": [{"Id": CONTACT_ID}]}}
    transport = CannedTransport(
        token={"access_token": "t-1", "instance_url": "https://na1.example"}, composite={"compositeResponse": [found]}
    )
    tokens = TokenKeeper(remotes.tokens._login, transport)
    records = SalesforceRecords(remotes.records._data, tokens, transport=transport, files=remotes.records._files)
    assert records.serve(EnsureContact(wants_chat())) == (ContactReady(CONTACT_ID),)
    assert transport.sent[1].headers["Authorization"] == "Bearer t-1"


def test_the_desk_works_over_another_transport(remotes: Remotes) -> None:
    transport = CannedTransport(ChatMessage=HttpReply(200, {}, b"OK"))
    desk = LiveAgentDesk(remotes.desk._codec, remotes.desk._button_of, posts=transport, polls=transport)
    [event] = desk.serve(SendToAgent(desk_session(), DELIVERY))
    assert isinstance(event, DeliveredToAgent)


def test_the_user_channel_works_over_another_transport(remotes: Remotes) -> None:
    channel = UserChannel(remotes.channel._channels, CannedTransport(messages={"id": "c-1"}))
    assert channel.serve(SendToUser(wants_chat(), DELIVERY)) == (DeliveredToUser("c-1"),)


def test_the_bot_flow_works_over_another_transport(remotes: Remotes) -> None:
    canned = CannedTransport(**{"send-to": {}, "webhook": {}})
    assert BotFlowClient(remotes.bot_flow._codec, canned).serve(TellBot(wants_chat(), "success", 0)) == (BotTold(),)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (HttpReply(200, {}, b"GIF89a"), ""),
        (HttpReply(404), "media.example"),
        (AnswerTooLarge("more than 9 bytes"), "the file is larger than 9 bytes"),
    ],
)
def test_files_are_fetched_over_another_transport(answer: object, sentence: str) -> None:
    canned = CannedTransport(**{"photo.gif": answer, "moved": HttpReply(302, {"location": "/photo.gif"})})

    def make_transport(look_up: LookUp) -> Transport:
        return canned

    media = MediaHost(allowed_hosts=(), max_bytes=9, timeout_s=5.0, make_transport=make_transport)
    if sentence:
        with pytest.raises(RemoteRefused, match=sentence):
            media.fetch("https://media.example/moved?token=s3cret")
    else:
        assert media.fetch("https://media.example/moved?token=s3cret") == b"GIF89a"
    assert [call.url for call in canned.sent] == [
        "https://media.example/moved?token=s3cret",
        "https://media.example/photo.gif",
    ]


def test_both_transports_share_the_trust_store_and_the_limits() -> None:
    sockets = SocketTransport("a", connections=1)
    session = RequestsTransport("b", connections=1)._session
    adapter = session.get_adapter("https://x.example/")
    assert sockets._trust is trust()
    assert adapter.poolmanager.connection_pool_kw["ssl_context"] is trust()  # type: ignore[attr-defined]
    assert trust().check_hostname
    assert (CONNECT_TIMEOUT_S, LARGEST_ANSWER) == (5.0, 4 * 1024 * 1024)


@pytest.mark.parametrize("transport", [RequestsTransport, SocketTransport])
def test_a_look_up_may_refuse_a_host(transport: type[RequestsTransport | SocketTransport]) -> None:
    def refuse(host: str, port: int) -> list[tuple[object, ...]]:
        raise RemoteRefused(f"{host}:{port} is not allowed")

    with pytest.raises(RemoteRefused, match=r"media\.example:443 is not allowed"):
        transport("a", connections=1, look_up=refuse).send(HttpCall(method="GET", url="https://media.example/"))
    with pytest.raises(RemoteUnavailable):
        transport("a", connections=1).send(HttpCall(method="GET", url="http://127.0.0.1:1/"))
