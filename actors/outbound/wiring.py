"""The remote services that a worker calls, and the pool of clients that calls each."""

from __future__ import annotations

from functools import partial

from bridge.actors.outbound.channels import BotFlowClient, UserChannel, UserFiles
from bridge.actors.outbound.destinations import destination_of
from bridge.actors.outbound.liveagent import LiveAgentDesk
from bridge.actors.outbound.media import MediaHost
from bridge.actors.outbound.names import Names
from bridge.actors.outbound.pool import ClientPool
from bridge.actors.outbound.requests_transport import RequestsTransport
from bridge.actors.outbound.salesforce import SalesforceRecords, TokenKeeper
from bridge.actors.outbound.socket_transport import SocketTransport
from bridge.actors.protocol import Request
from bridge.channels import table
from bridge.channels.channel import Channels
from bridge.codecs.botflow import BotFlow
from bridge.codecs.liveagent.requests import LiveAgentCodec
from bridge.codecs.salesforce.data import SalesforceData
from bridge.codecs.salesforce.login import SalesforceLogin
from bridge.commands import TERMS, Pool
from bridge.settings import wiring as settings_wiring
from bridge.settings.load import Settings

# Clients are started when they are needed. One destination gets at most half of a pool's, so a pool with a single
# destination is twice as large as its share: a chat that opens sends three calls to Salesforce, one after another.
RECORDS_CLIENTS = CONTROL_CLIENTS = 128
DESK_CLIENTS = USER_CLIENTS = BOT_CLIENTS = 64
FILE_CLIENTS = 32
POLL_CONNECTIONS = 10_000


class Remotes:
    """The remote services that this worker calls, each over a transport of its own."""

    def __init__(self, settings: Settings, channels: Channels | None = None) -> None:
        channels = channels or table.channels(settings)
        data = SalesforceData(settings_wiring.salesforce_records(settings))
        codec = LiveAgentCodec(
            settings.sfc_chat_url,
            organization_id=settings.sfc_organization_id,
            deployment_id=settings.sfc_deployment_id,
            api_version=settings.liveagent_api_version,
        )
        look_up = Names().look_up
        polls = SocketTransport("Live Agent", connections=POLL_CONNECTIONS, look_up=look_up)
        posts = SocketTransport("Live Agent", connections=CONTROL_CLIENTS, look_up=look_up)
        self.desk = LiveAgentDesk(codec, lambda request: data.route(request).button_id, posts=posts, polls=polls)
        private_key = settings.sfc_private_key.get_secret_value()
        login = SalesforceLogin(settings_wiring.salesforce_login(settings))
        salesforce = RequestsTransport("Salesforce", connections=RECORDS_CLIENTS, look_up=look_up)
        self.tokens = TokenKeeper(login, salesforce, private_key=private_key)
        transport = RequestsTransport("the channel's files", connections=FILE_CLIENTS, look_up=look_up)
        files = UserFiles(channels, transport, MediaHost.from_settings(settings))
        self.records = SalesforceRecords(data, self.tokens, transport=salesforce, files=files)
        integrations = SocketTransport("the Integrations API", connections=USER_CLIENTS, look_up=look_up)
        self.channel = UserChannel(channels, integrations)
        to_bot = RequestsTransport("the bot flow", connections=BOT_CLIENTS, look_up=look_up)
        self.bot_flow = BotFlowClient(BotFlow(settings_wiring.bot_flow(settings)), to_bot)


class Pools:
    """One pool of outbound clients for each remote service, and which command goes where."""

    def __init__(self, remotes: Remotes, settings: Settings) -> None:
        destination = partial(destination_of, server=remotes.desk.server)
        to_desk, to_user = settings.saleforce_chan_rate_limit, settings.integration_chan_rate_limit
        desk, records = remotes.desk.serve, remotes.records.serve
        # Opening, repairing and leaving a session must not wait for texts, which wait for the rate limit.
        self.control = ClientPool("desk control", desk, size=CONTROL_CLIENTS, destination=destination)
        self.desk = ClientPool("desk", desk, size=DESK_CLIENTS, rate=to_desk, destination=destination)
        self.records = ClientPool("salesforce", records, size=RECORDS_CLIENTS, destination=destination)
        # A file comes from a stranger's host, which may be slow on purpose: records must not wait for it.
        self.files = ClientPool("files", records, size=FILE_CLIENTS, destination=destination)
        channel = remotes.channel.serve
        self.channel = ClientPool("user channel", channel, size=USER_CLIENTS, rate=to_user, destination=destination)
        self.bot_flow = ClientPool("bot flow", remotes.bot_flow.serve, size=BOT_CLIENTS, destination=destination)
        self.all = (self.control, self.desk, self.records, self.files, self.channel, self.bot_flow)
        self._by_name = {
            Pool.CONTROL: self.control,
            Pool.DESK: self.desk,
            Pool.RECORDS: self.records,
            Pool.FILES: self.files,
            Pool.CHANNEL: self.channel,
            Pool.BOT_FLOW: self.bot_flow,
        }

    def send(self, request: Request) -> None:
        """Gives a request to the pool that its command belongs to."""
        self._by_name[TERMS[type(request.command)].pool].tell(request)
