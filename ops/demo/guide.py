"""What `sandbox --serve` prints: addresses, and a command to paste for each step."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bridge.ops.demo.narrator import Narrator
from bridge.ops.demo.people import EDUARDO
from bridge.settings.load import variable_name


class Addresses(NamedTuple):
    """Where the sandbox is, and who may log in."""

    service: str
    simulator: str
    environ: Mapping[str, str]


def tell_guide(addresses: Addresses, narrator: Narrator) -> None:
    """Prints everything that a reader needs to try the sandbox. Commands to paste are indented, each on one line."""
    narrator.title("The sandbox is up. Ctrl-C stops it.")
    narrator.verbatim(f"The service:         {addresses.service} (its API: {addresses.service}/v1/docs)")
    narrator.verbatim(f"All its neighbours:  {addresses.simulator} (what they can do: {addresses.simulator}/control)")
    narrator.tell()
    narrator.tell("To paste into another terminal, in this order:")
    for meaning, command in commands(addresses):
        narrator.tell()
        narrator.tell(meaning)
        narrator.verbatim(f"  {command}")
    narrator.tell()


def commands(addresses: Addresses) -> Iterator[tuple[str, str]]:
    """What each is for, and the line for a shell."""
    api, control = f"{addresses.service}/v1", f"{addresses.simulator}/control"
    username, password = _of(addresses, "yalo_username", "yaloUser"), _of(addresses, "yalo_password", "")
    login = f'{{"username":"{username}","password":"{password}"}}'
    yield (
        "Get a token, into $TOKEN.",
        f"TOKEN=$(curl -sS {api}/authenticate -d {shlex.quote(login)} | cut -d'\"' -f4)",
    )
    for meaning, rest in (
        ("As the bot: ask for an agent.", f"{api}/chats/connect {_BEARER} -d '{_CONNECT}'"),
        ("As the user: say something.", f"{api}/integrations/whatsapp/webhook -d '{_SAY}'"),
        ("As the agent: accept the chat.", f"-X POST {control}/chats/last/accept"),
        ("As the agent: write.", f"{control}/chats/last/say -d '{_ANSWER}'"),
        ("What agents were shown.", f"'{control}/ledger?kind=agent_text'"),
        ("What users were shown.", f"'{control}/ledger?kind=user_text'"),
        ("Everything that the neighbours took in.", f"{control}/ledger"),
    ):
        yield meaning, _curl(rest)
    yield "What the service's actors are doing.", _dump(addresses)
    yield "As the agent: end the chat.", _curl(f"-X POST {control}/chats/last/end")
    yield "What was said outside the chat.", _curl(f"{api}/context/{EDUARDO.user_id} {_BEARER}")


_BEARER = '-H "Authorization: Bearer $TOKEN"'
_ANSWER = '{"text":"Hola, soy Ana"}'
_CONNECT = (
    f'{{"userID":"{EDUARDO.user_id}","botSlug":"{EDUARDO.bot_slug}","botId":"{EDUARDO.bot_id}","name":"{EDUARDO.name}",'
    f'"provider":"whatsapp","email":"{EDUARDO.email}","extraData":{{}}}}'
)
# A message's id must be new each time, or it counts as a repeat.
_SAY = (
    f'{{"from":"{EDUARDO.user_id}","id":"m-\'$RANDOM$RANDOM\'","type":"text","text":{{"body":"Hola, ¿hay alguien?"}},'
    '"timestamp":"\'$(date +%s)000\'"}'
)


def _curl(rest: str) -> str:
    return rf"curl -sS -w '\n' {rest}"


def _dump(addresses: Addresses) -> str:
    folder = variable_name("ops_socket_dir")
    bridge = Path(sys.argv[0])
    command = [str(bridge.resolve())] if bridge.name == "bridge" else [sys.executable, "-m", "bridge.ops.cli"]
    return f"{folder}={shlex.quote(addresses.environ[folder])} {shlex.join(command)} dump"


def _of(addresses: Addresses, field: str, default: str) -> str:
    return addresses.environ.get(variable_name(field), default)
