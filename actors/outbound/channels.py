"""The user's side: texts to the channels, files from them, states to the bot flow."""

from __future__ import annotations

from bridge.actors.outbound.media import MediaHost
from bridge.actors.outbound.transport import Transport
from bridge.channels.channel import Channel, Channels, Fetch
from bridge.codecs.botflow import BotFlow
from bridge.commands import Command, SendToUser, TellBot
from bridge.events import BotTold, DeliveredToUser, Event
from bridge.messages import Media, Provider
from bridge.wire import HttpCall


class UserChannel:
    """Brings texts and files to users, each by the channel of their provider."""

    def __init__(self, channels: Channels, transport: Transport) -> None:
        self._channels = channels
        self._transport = transport

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Sends one text or one file. Raises RemoteError."""
        assert isinstance(command, SendToUser)
        channel = self._channels[command.request.provider]
        channel.check_sent(self._transport.send(_sending(channel, command)))
        return (DeliveredToUser(command.delivery.id),)

    def register(self, provider: Provider) -> None:
        """Says where our webhook is. Raises RemoteError."""
        channel = self._channels[provider]
        channel.check_registered(self._transport.send(channel.register()))

    def remove(self, provider: Provider) -> None:
        """Says that our webhook is to be forgotten. Raises RemoteError."""
        channel = self._channels[provider]
        channel.check_removed(self._transport.send(channel.remove()))


def _sending(channel: Channel, command: SendToUser) -> HttpCall:
    delivery, user_id = command.delivery, command.request.user_id
    text = delivery.text
    if delivery.media is not None:
        if call := channel.send_file(user_id, delivery_id=delivery.id, media=delivery.media):
            return call
        text = "\n".join(filter(None, (delivery.media.caption, delivery.media.url)))
    return channel.send_text(user_id, delivery_id=delivery.id, text=text)


class UserFiles:
    """Fetches what users sent: by the calls of their channel where it has some, else from the host of the URL."""

    def __init__(self, channels: Channels, transport: Transport, host: MediaHost) -> None:
        self._channels = channels
        self._transport = transport
        self._host = host

    def fetch(self, provider: Provider, media: Media) -> bytes:
        """The file, whole. Raises RemoteError."""
        fetch = self._channels[provider].fetch_file(media)
        return self._host.fetch(media.url) if fetch is None else self._run(fetch)

    def _run(self, fetch: Fetch) -> bytes:
        try:
            call = next(fetch)
            while True:
                call = fetch.send(self._transport.send(call))
        except StopIteration as done:
            file: bytes = done.value
            return file


class BotFlowClient:
    """Studio NG or Botrunner, which move the bot's conversation on."""

    def __init__(self, codec: BotFlow, transport: Transport) -> None:
        self._codec = codec
        self._transport = transport

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Puts the bot into a state. Raises RemoteError."""
        assert isinstance(command, TellBot)
        self._codec.check_told(self._transport.send(self._codec.tell(command.request, command.state)))
        return (BotTold(),)
