"""Who plays in the sandbox's story, what they say, and how a channel's webhook wraps it (integrations.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bridge.messages import Provider

AGENT = "Ana"


class Person(NamedTuple):
    """A bot user, and the bot that they talk to."""

    provider: Provider
    channel: str
    user_id: str
    name: str
    email: str
    bot_slug: str
    bot_id: str

    @property
    def first_name(self) -> str:
        """What the story calls them."""
        return self.name.split()[0]

    def connect_body(self) -> dict[str, Any]:
        """What the bot sends to ask for an agent."""
        return {
            "userID": self.user_id,
            "botSlug": self.bot_slug,
            "botId": self.bot_id,
            "name": self.name,
            "provider": self.provider,
            "email": self.email,
            "phoneNumber": self.user_id,
            "extraData": {"source_flow_bot": "default"},
        }


class Lines(NamedTuple):
    """What is said, in this order: with the bot, on hold, with the agent, and when the bot is back."""

    to_bot: tuple[tuple[str, str], ...]
    on_hold: str
    greeting: str
    reply: str
    photo_caption: str
    goodbye: str
    afterwards: str


EDUARDO = Person(
    "whatsapp", "WhatsApp", "5217331175599", "Eduardo Ochoa", "ochoa@example.com", "coppel-bot", "521554578545"
)
EDUARDO_SAYS = Lines(
    to_bot=(
        ("bot", "¡Hola! ¿En qué puedo ayudarte?"),
        ("user", "Mi pedido llegó dañado"),
        ("bot", "Te comunico con un asesor."),
    ),
    on_hold="¿Hay alguien ahí?",
    greeting="Hola, Eduardo, soy Ana. ¿Me mandas una foto, por favor?",
    reply="Claro, aquí está",
    photo_caption="La caja abierta",
    goodbye="Gracias. Mañana te llega uno nuevo.",
    afterwards="¡Muchas gracias!",
)
LUCIA = Person(
    "facebook", "Messenger", "6199190013487246", "Lucía Prado", "lucia@example.com", "coppel-msn", "233726951928154"
)
LUCIA_SAYS = Lines(
    to_bot=(("user", "Quiero hablar con una persona"), ("bot", "Con gusto. Un momento, por favor.")),
    on_hold="Es sobre mi cuenta",
    greeting="Buenas tardes, Lucía, soy Ana. ¿En qué te ayudo?",
    reply="¿Cuál es mi saldo?",
    photo_caption="",
    goodbye="Te lo envié por correo. ¡Hasta luego!",
    afterwards="Perfecto",
)


class Utterance(NamedTuple):
    """One thing said, by the user or the bot: a text, or a photo by its address with the text as its caption."""

    message_id: str
    text: str
    by_bot: bool = False
    photo: str = ""


def webhook_body(person: Person, said: Utterance) -> dict[str, Any]:
    """What the Integrations API posts."""
    return _WRAPPED[person.provider](person, said)


def _whatsapp(person: Person, said: Utterance) -> dict[str, Any]:
    parties = {"from": person.bot_id, "to": person.user_id} if said.by_bot else {"from": person.user_id}
    content: dict[str, Any] = {"type": "text", "text": {"body": said.text}}
    if said.photo:
        image = {"url": said.photo, "caption": said.text, "mimeType": "image/png"}
        content = {"type": "image", "image": image}
    return {**parties, **content, "id": said.message_id, "timestamp": str(_now_ms())}


def _messenger(person: Person, said: Utterance) -> dict[str, Any]:
    user, page = {"id": person.user_id}, {"id": person.bot_id}
    sender, recipient = (page, user) if said.by_bot else (user, page)
    message: dict[str, Any] = {"mid": said.message_id, "text": said.text}
    if said.photo:
        message["attachments"] = [{"type": "image", "payload": {"url": said.photo}}]
    event = {"sender": sender, "recipient": recipient, "timestamp": _now_ms(), "message": message}
    return {
        "authorRole": "bot" if said.by_bot else "user",
        "provider": "facebook",
        "message": {"object": "page", "entry": [{"id": person.bot_id, "messaging": [event]}]},
    }


_WRAPPED: Mapping[Provider, Callable[[Person, Utterance], dict[str, Any]]] = {
    "whatsapp": _whatsapp,
    "facebook": _messenger,
}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
