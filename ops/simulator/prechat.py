"""ChasitorInit, checked field by field, and for the values that we send (liveagent.md, "Requesting a chat")."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bridge.ops.simulator.chat_parts import Refusal
from bridge.ops.simulator.settings import SimulatorSettings

_ID = r"[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?"
_LOOKS = {
    "organizationId": re.compile(rf"00D{_ID}"),
    "deploymentId": re.compile(rf"572{_ID}"),
    "buttonId": re.compile(rf"573{_ID}"),
}
_YALO = {
    "userAgent": "Yalo Bot",
    "language": "es-MX",
    "screenResolution": "1900x1080",
    "receiveQueueUpdates": True,
    "isPost": True,
}
_YALO_ENTITIES = {"Case": "CaseId", "Contact": "ContactId"}


class CustomDetail(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """One prechat detail; the two spellings of the maps are both in use."""

    label: str
    value: str
    transcript_fields: list[str]
    display_to_agent: bool = False
    entity_maps: list[Any] = []
    entity_field_maps: list[Any] = []
    do_knowledge_search: bool = False


class EntityFieldsMap(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """How one field of an entity is found or filled; all required."""

    field_name: str
    label: str
    do_find: bool
    is_exact_match: bool
    do_create: bool


class PrechatEntity(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A record that is looked for or made when the chat begins."""

    entity_name: str
    entity_fields_maps: list[EntityFieldsMap]
    show_on_create: bool = False
    link_to_entity_name: str = ""
    link_to_entity_field: str = ""
    save_to_transcript: str = ""


class ChasitorInit(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The first POST of a session."""

    organization_id: str
    deployment_id: str
    session_id: str
    user_agent: str
    language: str
    screen_resolution: str
    visitor_name: str
    prechat_details: list[CustomDetail]
    prechat_entities: list[PrechatEntity]
    receive_queue_updates: bool
    is_post: bool
    button_id: str = ""
    agent_id: str = ""
    do_fallback: bool = False
    button_overrides: list[str] = []
    tracking_id: str = ""


def check(init: ChasitorInit, settings: SimulatorSettings, *, session_id: str) -> dict[str, Any]:
    """The request as plain data. Raises Refusal 400 with a sentence for every property that is wrong."""
    wrong = {**_wrong_ids(init, settings), **_wrong_routing(init)}
    if init.session_id != session_id:
        wrong["sessionId"] = "is not this session"
    if not init.visitor_name.strip():
        wrong["visitorName"] = "is empty"
    if settings.yalo_prechat:
        wrong |= _wrong_for_yalo(init)
    if wrong:
        raise Refusal(400, "Request is not a valid ChasitorInit", properties=wrong)
    plain: dict[str, Any] = msgspec.to_builtins(init)
    return plain


def _wrong_ids(init: ChasitorInit, settings: SimulatorSettings) -> dict[str, str]:
    given = {"organizationId": init.organization_id, "deploymentId": init.deployment_id, "buttonId": init.button_id}
    ours = {"organizationId": settings.organization_id, "deploymentId": settings.deployment_id}
    wrong = {name: "is not an id of its kind" for name, id_ in given.items() if id_ and not _LOOKS[name].fullmatch(id_)}
    others = {name: "is not ours" for name, id_ in ours.items() if id_ and given[name][:15] != id_[:15]}
    return {**others, **wrong}


def _wrong_routing(init: ChasitorInit) -> dict[str, str]:
    if init.button_id or init.agent_id or init.button_overrides:
        return {}
    return {"buttonId": "no button, agent or override to route by"}


def _wrong_for_yalo(init: ChasitorInit) -> dict[str, str]:
    given: dict[str, Any] = msgspec.to_builtins(init)
    wrong = {name: f"is not {value!r}" for name, value in _YALO.items() if given[name] != value}
    details = {detail.label: detail for detail in init.prechat_details}
    entities = {entity.entity_name: entity for entity in init.prechat_entities}
    for entity, label in _YALO_ENTITIES.items():
        if label not in details or not _good_detail(details[label]):
            wrong[f"prechatDetails.{label}"] = "is missing, empty, hidden from the agent or has other transcriptFields"
        if entity not in entities or entities[entity] != _entity(entity, label):
            wrong[f"prechatEntities.{entity}"] = "is missing or not as agreed"
    return wrong


def _good_detail(detail: CustomDetail) -> bool:
    return detail.value != "" and detail.display_to_agent and detail.transcript_fields == [detail.label]


def _entity(name: str, label: str) -> PrechatEntity:
    found_by_id = EntityFieldsMap("Id", label, True, True, False)
    return PrechatEntity(name, [found_by_id], True, name, "Id", name)
