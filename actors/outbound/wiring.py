"""The remote services that a worker calls, and the pool of clients that calls each."""

from __future__ import annotations

from collections.abc import Collection

from bridge.actors.outbound.channels import BotFlowClient, UserChannel, UserFiles
from bridge.actors.outbound.liveagent import LiveAgentDesk
from bridge.actors.outbound.media import MediaHost
from bridge.actors.outbound.pool import ClientPool
from bridge.actors.outbound.requests_transport import RequestsTransport
from bridge.actors.outbound.salesforce import SalesforceRecords, TokenKeeper
from bridge.actors.outbound.socket_transport import SocketTransport
from bridge.actors.outbound.transport import GuardedTransport, Transport
from bridge.actors.protocol import Request
from bridge.channels import table
from bridge.channels.channel import Channels
from bridge.codecs.botflow import BotFlow, BotFlowConfig
from bridge.codecs.liveagent.requests import LiveAgentCodec
from bridge.codecs.salesforce.data import SalesforceConfig, SalesforceData
from bridge.codecs.salesforce.login import LoginConfig, SalesforceLogin
from bridge.commands import TERMS, Pool
from bridge.limits import Breaker
from bridge.settings.load import Settings

# What Live Agent answers to a session that it moved (liveagent.md, "Reconnect").
SESSION_MOVED = (503,)
# A chat that opens sends three calls to Salesforce and two to the desk, one after another.
DESK_CLIENTS = RECORDS_CLIENTS = 64
FILE_CLIENTS = 16
USER_CLIENTS = BOT_CLIENTS = 32
POLL_CONNECTIONS = 10_000


class Remotes:
    """The remote services that this worker calls, each over a transport of its own."""

    def __init__(self, settings: Settings, channels: Channels | None = None) -> None:
        channels = channels or table.channels(settings)
        data = SalesforceData(SalesforceConfig.from_settings(settings))
        codec = LiveAgentCodec(
            settings.sfc_chat_url,
            organization_id=settings.sfc_organization_id,
            deployment_id=settings.sfc_deployment_id,
            api_version=settings.liveagent_api_version,
        )
        polls = SocketTransport("Live Agent", connections=POLL_CONNECTIONS)
        posts = _over_sockets("Live Agent", DESK_CLIENTS, harmless=SESSION_MOVED)
        self.desk = LiveAgentDesk(codec, lambda request: data.route(request).button_id, line=posts, poll_line=polls)
        private_key = settings.sfc_private_key.get_secret_value()
        login = SalesforceLogin(LoginConfig.from_settings(settings))
        salesforce = _over_requests("Salesforce", RECORDS_CLIENTS)
        self.tokens = TokenKeeper(login, salesforce, private_key=private_key)
        transport = _over_requests("the channel's files", FILE_CLIENTS)
        files = UserFiles(channels, transport, MediaHost.from_settings(settings))
        self.records = SalesforceRecords(data, self.tokens, transport=salesforce, files=files)
        self.channel = UserChannel(channels, _over_sockets("the Integrations API", USER_CLIENTS))
        self.bot_flow = BotFlowClient(
            BotFlow(BotFlowConfig.from_settings(settings)), _over_requests("the bot flow", BOT_CLIENTS)
        )


class Pools:
    """One pool of outbound clients for each remote service, and which command goes where."""

    def __init__(self, remotes: Remotes, settings: Settings) -> None:
        to_desk, to_user = settings.saleforce_chan_rate_limit, settings.integration_chan_rate_limit
        self.desk = ClientPool("desk", remotes.desk.serve, size=DESK_CLIENTS, rate=to_desk)
        self.records = ClientPool("salesforce", remotes.records.serve, size=RECORDS_CLIENTS)
        self.channel = ClientPool("user channel", remotes.channel.serve, size=USER_CLIENTS, rate=to_user)
        self.bot_flow = ClientPool("bot flow", remotes.bot_flow.serve, size=BOT_CLIENTS)
        # A file comes from a stranger's host, which may be slow on purpose: records must not wait for it.
        self.files = ClientPool("files", remotes.records.serve, size=FILE_CLIENTS)
        self.all = (self.desk, self.records, self.files, self.channel, self.bot_flow)
        self._by_name = {
            Pool.DESK: self.desk,
            Pool.RECORDS: self.records,
            Pool.FILES: self.files,
            Pool.CHANNEL: self.channel,
            Pool.BOT_FLOW: self.bot_flow,
        }

    def send(self, request: Request) -> None:
        """Gives a request to the pool that its command belongs to."""
        self._by_name[TERMS[type(request.command)].pool].tell(request)


def _over_sockets(name: str, connections: int, *, harmless: Collection[int] = ()) -> Transport:
    return GuardedTransport(SocketTransport(name, connections=connections), Breaker(), name=name, harmless=harmless)


def _over_requests(name: str, connections: int) -> Transport:
    return GuardedTransport(RequestsTransport(name, connections=connections), Breaker(), name=name)
