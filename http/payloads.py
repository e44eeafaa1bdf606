"""The bodies of connect and login, and their check: all faults in one answer, worded as in the replaced service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, ClassVar, TypeVar

import msgspec
from msgspec.structs import FieldInfo

from bridge.errors import PayloadError
from bridge.http.extra_data import value_of
from bridge.inputs import SLUG_PATTERN, USER_ID_PATTERN, decode
from bridge.messages import ConnectRequest, ExtraValue, Provider

FAULT = "Error validating payload : "
MOST_FAULTS = 20
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Extra = Annotated[str, msgspec.Meta(max_length=32_768)] | bool | int | float
Scalar = str | bool | int | float


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the checked bodies. A fault names the body by `spoken_of` and each field by its name in `go_names`."""

    spoken_of: ClassVar[str]
    go_names: ClassVar[dict[str, str]]
    trimmed: ClassVar[bool] = True


_NAMES = {
    "user_id": "userID",
    "bot_slug": "botSlug",
    "bot_id": "botId",
    "phone_number": "phoneNumber",
    "extra_data": "extraData",
}


class ChatPayload(Payload, frozen=True, rename=_NAMES):
    """What opens a chat (settings.md, "Connect")."""

    spoken_of: ClassVar[str] = "ChatPayload"
    go_names: ClassVar[dict[str, str]] = {
        "user_id": "UserID",
        "name": "Name",
        "provider": "Provider",
        "bot_slug": "BotSlug",
        "bot_id": "BotId",
        "email": "Email",
        "phone_number": "PhoneNumber",
        "extra_data": "ExtraData",
    }

    user_id: Annotated[str, msgspec.Meta(pattern=USER_ID_PATTERN, examples=["5217331175599"])]
    name: Annotated[Text, msgspec.Meta(examples=["Eduardo Ochoa"])]
    provider: Provider
    bot_slug: Annotated[str, msgspec.Meta(pattern=SLUG_PATTERN, examples=["coppel-bot"])]
    bot_id: Annotated[Text, msgspec.Meta(examples=["521554578545"])]
    email: Annotated[Text, msgspec.Meta(examples=["ochoa@example.com"])]
    phone_number: Annotated[str, msgspec.Meta(max_length=512, examples=["5217331175599"])] = ""
    extra_data: Annotated[dict[str, Extra], msgspec.Meta(examples=[{"source_flow_bot": "SFB001"}])] = {}

    def to_request(self) -> ConnectRequest:
        """The same as the message of the actors."""
        return ConnectRequest(
            user_id=self.user_id,
            bot_slug=self.bot_slug,
            bot_id=self.bot_id,
            name=self.name,
            provider=self.provider,
            email=self.email,
            phone_number=self.phone_number,
            extra_data={key: _storable(value) for key, value in self.extra_data.items()},
        )


class Credentials(Payload, frozen=True):
    """A login (settings.md, "Tokens")."""

    spoken_of: ClassVar[str] = "Credentials"
    trimmed: ClassVar[bool] = False
    go_names: ClassVar[dict[str, str]] = {"username": "Username", "password": "Password"}

    username: Annotated[str, msgspec.Meta(min_length=1, max_length=1024, examples=["yaloUser"])]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024, examples=["a long password"])]


Checked = TypeVar("Checked", bound=Payload)
ReadValue = Callable[[msgspec.Raw], object]
# `structs.fields` evaluates every annotation, which takes a third of a millisecond.
_fields = cache(msgspec.structs.fields)


def check(raw: bytes, shape: type[Checked], *, extra_data: ReadValue = value_of) -> Checked:
    """The body as `shape`; names match in any case, as in the replaced service, and null is the same as missing.

    `extra_data` reads the value of that name. Raises PayloadError with a line for each fault,
    `Key: 'ChatPayload.Email' Error:Field …` (settings.md, "Connect").
    """
    given = {name.lower(): value for name, value in decode(raw, dict[str, msgspec.Raw]).items()}
    values = {
        field.encode_name: _read(given.get(field.encode_name.lower()), field, extra_data) for field in _fields(shape)
    }
    if shape.trimmed:
        values = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
    faults = [fault for field in _fields(shape) for fault in _faults(shape, field, values[field.encode_name])]
    if faults:
        raise PayloadError(FAULT + "\n".join(faults))
    return msgspec.convert({name: value for name, value in values.items() if value not in (None, "")}, shape)


def _read(raw: msgspec.Raw | None, field: FieldInfo, extra_data: ReadValue) -> object:
    if raw is None:
        return None
    return extra_data(raw) if field.name == "extra_data" else value_of(raw)


def _faults(shape: type[Payload], field: FieldInfo, value: object) -> Iterator[str]:
    name = shape.go_names[field.name]
    if value is None or value == "":
        if field.required:
            yield _tag_fault(shape, name, "required")
    elif isinstance(value, dict) and field.default_factory is dict:
        yield from _map_faults(shape, field, value)
    elif reason := _refusal(value, field.type):
        # A wrong value is worded as by go-playground/validator, which has no words for a wrong type.
        told_by_tag = isinstance(value, str) and field.default_factory is not dict
        yield _tag_fault(shape, name, _tag(field, str(value))) if told_by_tag else _type_fault(shape, name, reason)


def _map_faults(shape: type[Payload], field: FieldInfo, value: dict[str, object]) -> Iterator[str]:
    name = shape.go_names[field.name]
    wrong = [key for key, item in value.items() if not isinstance(item, Scalar)]
    for key in wrong[:MOST_FAULTS]:
        yield _type_fault(shape, f"{name}[{key[:64]}]", "Expected a string, a number or a boolean")
    if not wrong and (reason := _refusal(value, field.type)):
        yield _type_fault(shape, name, reason)


def _refusal(value: object, kind: object) -> str:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _tag(field: FieldInfo, value: str) -> str:
    if field.type is Provider:
        return "oneof"
    return "max" if len(value) > 128 else "charset"


def _tag_fault(shape: type[Payload], name: str, tag: str) -> str:
    return f"Key: '{shape.spoken_of}.{name}' Error:Field validation for '{name}' failed on the '{tag}' tag"


def _type_fault(shape: type[Payload], name: str, reason: str) -> str:
    return f"Key: '{shape.spoken_of}.{name}' Error:Field '{name}' is of the wrong type : {reason}"


def _storable(value: Scalar) -> ExtraValue:
    # A record holds numbers of 64 bits.
    too_long = isinstance(value, int) and not -(2**63) <= value < 2**63
    return json.dumps(value) if too_long else value


PROVIDERS: dict[str, Provider] = {"whatsapp": "whatsapp", "facebook": "facebook"}


def checked_provider(given: str) -> Provider:
    """The provider of a path. Raises PayloadError."""
    if given not in PROVIDERS:
        raise PayloadError(f"{FAULT}Key: 'Provider' Error:Field validation for 'Provider' failed on the 'oneof' tag")
    return PROVIDERS[given]
