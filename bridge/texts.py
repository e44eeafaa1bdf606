"""Words: what the agent is shown, and what the user is told (settings.md, "Texts" and "What the agent reads first")."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from bridge.messages import Media, MediaKind, Provider
from bridge.records import ContextEntry

_TIME_FORMAT = "%d-%m-%Y %H:%M:%S"
# By kind of file, the part of a text's name that speaks of it: upload_image_success, upload_file_error …
_SPOKEN_OF: dict[MediaKind, str] = {
    "image": "image",
    "audio": "audio",
    "document": "file",
    "video": "file",
    "file": "file",
}


class Messages(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Every text that users and agents read (settings.md, "Texts"); MESSAGES has the names in camelCase."""

    wait_agent: str = "Esperando un agente"
    welcome_template: str = "Hola soy %s y necesito ayuda"
    context: str = "Contexto"
    description_case: str = "Caso levantado por el Bot"
    upload_image_error: str = "Imagen no enviada"
    upload_image_success: str = "**El usuario adjunto una imagen al caso**"
    upload_file_error: str = "Archivo no enviado"
    upload_file_success: str = "**El usuario adjunto un archivo al caso**"
    upload_audio_error: str = "Audio no enviado"
    upload_audio_success: str = "**El usuario adjunto un audio al caso**"
    queue_position: str = "Posición en la cola"
    wait_time: str = "Tiempo de espera"
    first_name_contact: str = "Contacto Bot - "
    client_label: str = "Cliente"
    bot_label: str = "Bot"
    agent_disconnected: str = "El agente perdió la conexión. Espera un momento, por favor."
    transfer_began: str = "Te estamos transfiriendo con otro agente. Espera un momento, por favor."
    chat_transferred: str = "Ahora te atiende otro agente."
    file_from_agent: str = "El agente quiso enviarte un archivo, pero no se puede recibir por este medio."
    delivery_failed: str = "Tu mensaje no pudo ser entregado al agente. Envíalo de nuevo, por favor."
    unreadable: str = "No pudimos leer un mensaje del agente. Pídele que lo envíe de nuevo, por favor."
    not_received: str = "El usuario no recibió este mensaje"
    context_failed: str = "No fue posible mostrar todo el contexto anterior"


class Texts:
    """Every sentence that a chat says, by MESSAGES, TIMEZONE and SEND_IMAGE_NAME_IN_MESSAGE."""

    def __init__(
        self,
        messages: Messages,
        timezone: ZoneInfo,
        *,
        longest_text: Mapping[Provider, int],
        name_files: bool = False,
    ) -> None:
        self.messages = messages
        self.timezone = timezone
        self.longest_text = longest_text
        self.name_files = name_files

    # --- to the user --------------------------------------------------------------------------------------------

    @property
    def wait(self) -> str:
        """Once the request is queued."""
        return self.messages.wait_agent

    @property
    def agent_left(self) -> str:
        """When the agent's connection dropped."""
        return self.messages.agent_disconnected

    @property
    def file_from_agent(self) -> str:
        """When the agent used a file that this channel cannot carry."""
        return self.messages.file_from_agent

    @property
    def transfer_began(self) -> str:
        """When the chat is on its way to another agent."""
        return self.messages.transfer_began

    @property
    def undelivered(self) -> str:
        """When the desk would not take what the user wrote."""
        return self.messages.delivery_failed

    @property
    def unreadable(self) -> str:
        """When something that the agent sent could not be read."""
        return self.messages.unreadable

    def transferred(self, agent_name: str) -> str:
        """When another agent took over; a `%s` in the text is that agent's name."""
        return self.messages.chat_transferred.replace("%s", agent_name)

    def queue(self, position: int | None, wait_s: float | None) -> str:
        """The place in the queue and the wait, a line each; a line is left out where it, or its text, is not known."""
        place = str(position) if position is not None and position > 0 else ""
        wait = _duration(wait_s) if wait_s is not None and wait_s > 0 else ""
        lines = ((self.messages.queue_position, place), (self.messages.wait_time, wait))
        return "\n".join(f"{text}: {value}" for text, value in lines if text and value)

    def file_failed(self, media: Media) -> str:
        """When a file did not go through."""
        return self._about(media, "error")

    def parts(self, provider: Provider, text: str) -> list[str]:
        """The text in pieces that the channel takes, in order."""
        return split(text, self.longest_text[provider])

    # --- to the agent -------------------------------------------------------------------------------------------

    def context(self, entries: Sequence[ContextEntry]) -> str:
        """What was said before, a block each, in the order in which it came; empty where nothing was."""
        if not entries:
            return ""
        blocks = [self._block(entry) for entry in entries]
        return f"{self.messages.context}:\n" + "".join(blocks)

    @property
    def context_failed(self) -> str:
        """When the desk would not take the context, or a part of it."""
        return self.messages.context_failed

    def not_received(self, text: str) -> str:
        """When the channel would not take what the agent wrote; empty where the operator has no text for that."""
        return f"{self.messages.not_received}: {text}" if self.messages.not_received else ""

    def welcome(self, name: str) -> str:
        """The first words in the user's name."""
        return self.messages.welcome_template.replace("%s", name)

    def file_sent(self, media: Media, name: str) -> str:
        """A file lies at the case, under this name."""
        notice = self._about(media, "success")
        return f"{notice.rstrip()} {name}" if self.name_files and name else notice

    def _about(self, media: Media, outcome: str) -> str:
        text: str = getattr(self.messages, f"upload_{_SPOKEN_OF[media.kind]}_{outcome}")
        return text

    def _block(self, entry: ContextEntry) -> str:
        label = self.messages.client_label if entry.sender == "user" else self.messages.bot_label
        said = " ".join(filter(None, (entry.text.rstrip("\n"), entry.caption, entry.url)))
        return f"{label} [{self._time(entry.timestamp)}]:{said}\n\n"

    def _time(self, at_ms: int) -> str:
        try:
            return datetime.fromtimestamp(at_ms / 1000, self.timezone).strftime(_TIME_FORMAT)
        except (OverflowError, ValueError, OSError):
            # The sender's clock, not ours: a senseless one must not cost the agent the rest.
            return "?"


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds / 60)} min" if seconds > 60 else f"{math.ceil(seconds)} s"


# --- long texts -----------------------------------------------------------------------------------------------------

_JOINER = "\u200d"


def split(text: str, longest: int) -> list[str]:
    """The text in pieces of at most `longest` characters, in order; `"".join` restores it; an empty text gives none.

    A piece ends after a line or a word if one ends in its second half, else between two visible characters.
    """
    return list(_pieces(text, longest))


def _pieces(text: str, longest: int) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = _end(text, start, longest)
        yield text[start:end]
        start = end


def _end(text: str, start: int, longest: int) -> int:
    end = start + longest
    if end >= len(text):
        return len(text)
    for boundary in ("\n", " "):
        found = text.rfind(boundary, start + longest // 2, end)
        if found >= 0:
            return found + 1
    return _between_characters(text, start + longest // 2, end)


def _between_characters(text: str, least: int, end: int) -> int:
    # An accent or a joined emoji stays with the character that it belongs to.
    for cut in range(end, least, -1):
        if not _continues(text[cut]) and text[cut - 1] != _JOINER:
            return cut
    return end


def _continues(sign: str) -> bool:
    return unicodedata.category(sign) in ("Mn", "Mc", "Me") or sign == _JOINER or "\U0001f3fb" <= sign <= "\U0001f3ff"
