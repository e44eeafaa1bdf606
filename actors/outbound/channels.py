"""The user's side: texts to the channel, states to the bot flow."""

from __future__ import annotations

from bridge.actors.outbound.transport import Transport
from bridge.codecs.botflow import BotFlow
from bridge.channels.integrations.api import Integrations
from bridge.commands import Command, SendToUser, TellBot
from bridge.events import BotTold, DeliveredToUser, Event
from bridge.messages import Provider


class UserChannel:
    """The Integrations API, which brings texts to users on WhatsApp and Messenger."""

    def __init__(self, codec: Integrations, line: Transport) -> None:
        self._codec = codec
        self._line = line

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Sends one text. Raises RemoteError."""
        assert isinstance(command, SendToUser)
        delivery, request = command.delivery, command.request
        call = self._codec.send_text(request.provider, request.user_id, delivery_id=delivery.id, text=delivery.text)
        self._codec.check_sent(self._line.send(call))
        return (DeliveredToUser(delivery.id),)

    def register(self, provider: Provider) -> None:
        """Says where our webhook is. Raises RemoteError."""
        self._codec.check_registered(self._line.send(self._codec.register(provider)))

    def remove(self, provider: Provider) -> None:
        """Says that our webhook is to be forgotten. Raises RemoteError."""
        self._codec.check_removed(self._line.send(self._codec.remove(provider)))


class BotFlowClient:
    """Studio NG or Botrunner, which move the bot's conversation on."""

    def __init__(self, codec: BotFlow, line: Transport) -> None:
        self._codec = codec
        self._line = line

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Puts the bot into a state. Raises RemoteError."""
        assert isinstance(command, TellBot)
        self._codec.check_told(self._line.send(self._codec.tell(command.request, command.state)))
        return (BotTold(),)
