"""The destination of each command: which part of a remote service it needs, and fails with."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from bridge.commands import AttachFile, Command, LeaveDesk, RepairSession, RequestChat, SendToAgent, SendToUser, TellBot
from bridge.messages import DeskSession

Server = Callable[[DeskSession], str]


def destination_of(command: Command, server: Server) -> str:
    """Provider for the channel, bot for the bot flow, host for a file, `server` of the session for the desk."""
    if isinstance(command, SendToUser):
        return command.request.provider
    if isinstance(command, TellBot):
        return command.request.bot_slug
    if isinstance(command, AttachFile):
        media, message = command.delivery.media, command.delivery.message
        # A file without a URL is fetched by the calls of its channel.
        return _host(media.url if media else "") or (message.provider if message else "")
    if isinstance(command, SendToAgent | RequestChat | RepairSession | LeaveDesk):
        return server(command.session)
    return ""


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
