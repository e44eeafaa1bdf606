"""Salesforce's records: carries out a chat's commands on them, with one token that all calls share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import gevent.lock
import jwt

from bridge.actors.outbound.channels import UserFiles
from bridge.actors.outbound.transport import Transport
from bridge.codecs.salesforce.data import SalesforceData
from bridge.codecs.salesforce.files import attach, attachment, raise_unless_attached
from bridge.codecs.salesforce.login import JWT_ALGORITHM, SalesforceLogin
from bridge.codecs.salesforce.rest import ExternalId, Token, created_id, upserted_id, wants_new_token
from bridge.commands import AttachFile, Command, EnsureContact, OpenCase
from bridge.errors import RemoteError, RemoteGarbled, RemoteRefused
from bridge.events import CaseOpened, ContactBlocked, ContactReady, Event, FileAttached
from bridge.messages import ConnectRequest, Message
from bridge.wire import HttpCall, HttpReply

T = TypeVar("T")

log = logging.getLogger("bridge.salesforce")

# A case that is older than the chat is another chat's. The clocks of Salesforce and this host differ by less than this.
CLOCK_SKEW_MS = 5_000


class TokenKeeper:
    """The one token. The first caller that finds it expired logs in again; all others wait for that (single flight)."""

    def __init__(self, login: SalesforceLogin, transport: Transport, *, private_key: str = "") -> None:
        self._login = login
        self._transport = transport
        self._private_key = private_key
        self._lock = gevent.lock.BoundedSemaphore()
        self._token: Token | None = None
        self._refusals = 0
        self._refusal: RemoteError | None = None

    def token(self, *, instead_of: Token | None = None) -> Token:
        """A token other than `instead_of`. Raises RemoteError with the sentence that helps an operator."""
        refusals = self._refusals
        with self._lock:
            if self._token is not None and self._token is not instead_of:
                return self._token
            if self._refusal is not None and self._refusals != refusals:
                # Callers that waited share the refusal: one login for each would take long, and lock the user out.
                raise self._refusal
            self._token = self._log_in()
            return self._token

    def renew(self) -> None:
        """Asks for a new token. Called by a schedule, because Salesforce ends a token that was not used for hours."""
        self.token(instead_of=self._token)

    def _log_in(self) -> Token:
        assertion = ""
        if self._private_key:
            assertion = jwt.encode(self._login.claims(time.time()), self._private_key, algorithm=JWT_ALGORITHM)
        try:
            return self._login.token(self._transport.send(self._login.token_request(assertion)))
        except RemoteError as error:
            self._refusal, self._refusals = error, self._refusals + 1
            raise


class SalesforceRecords:
    """Contacts, cases and files. A call that is refused because its token expired is sent once more with a new one."""

    def __init__(self, data: SalesforceData, keeper: TokenKeeper, *, transport: Transport, files: UserFiles) -> None:
        self._data = data
        self._keeper = keeper
        self._transport = transport
        self._files = files
        self._served: dict[type[Message], Callable[..., tuple[Event, ...]]] = {
            EnsureContact: self._ensure_contact,
            OpenCase: self._open_case,
            AttachFile: self._attach_file,
        }

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Carries one command out; returns the events that follow. Raises RemoteError."""
        return self._served[type(command)](command)

    def _ensure_contact(self, command: EnsureContact) -> tuple[Event, ...]:
        data, request = self._data, command.request
        found = self._send(lambda token: data.search_contact(token, request), data.found_contact)
        if found is not None and found.blocked:
            return (ContactBlocked(found.contact_id),)
        return (ContactReady(found.contact_id if found else self._create_contact(request)),)

    def _create_contact(self, request: ConnectRequest) -> str:
        data = self._data
        if not data.account_record_type_id(request):
            return self._send(lambda token: data.create_contact(token, request), created_id)
        account_id = self._send(lambda token: data.create_account(token, request), created_id)
        return self._send(lambda token: data.read_person_contact(token, account_id), data.person_contact_id)

    def _open_case(self, command: OpenCase) -> tuple[Event, ...]:
        return (CaseOpened(self._case_of_an_earlier_try(command) or self._create_case(command)),)

    def _create_case(self, command: OpenCase) -> str:
        data, request, contact_id = self._data, command.request, command.contact_id
        key = data.case_key(command.chat_id)
        if key is None:
            return self._send(lambda token: data.create_case(token, request, contact_id=contact_id), created_id)
        made = self._send(lambda token: data.create_case(token, request, contact_id=contact_id, key=key), upserted_id)
        return made or self._case_by_key(key)

    def _case_by_key(self, key: ExternalId) -> str:
        found = self._send(lambda token: self._data.find_case_by_key(token, key), self._data.found_case)
        if found is None:
            raise RemoteGarbled("Salesforce: the case exists by its external id, but a query does not find it")
        return found

    def _case_of_an_earlier_try(self, command: OpenCase) -> str | None:
        # With an external id no search is needed: a repeated upsert finds the same case.
        if not command.again or self._data.case_key(command.chat_id):
            return None
        data, request, since_ms = self._data, command.request, command.since_ms - CLOCK_SKEW_MS
        return self._send(
            lambda token: data.find_case(token, request, contact_id=command.contact_id, since_ms=since_ms),
            data.found_case,
        )

    def _attach_file(self, command: AttachFile) -> tuple[Event, ...]:
        media, message = command.delivery.media, command.delivery.message
        if media is None or message is None:
            raise RemoteRefused("the message holds no file")
        file = attachment(media, self._files.fetch(message.provider, media), session_id=command.session_id)
        org = self._data.config.org
        self._send(lambda token: attach(org, token, case_id=command.case_id, attachment=file), raise_unless_attached)
        return (FileAttached(command.delivery.id, file.title),)

    def _send(self, call: Callable[[Token], HttpCall], read: Callable[[HttpReply], T]) -> T:
        token = self._keeper.token()
        try:
            return read(self._transport.send(call(token)))
        except RemoteRefused as error:
            if not wants_new_token(error):
                raise
            log.info("Salesforce token expired, asking for a new one")
            return read(self._transport.send(call(self._keeper.token(instead_of=token))))
