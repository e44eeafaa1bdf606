"""Every variable that an operator can set, as one flat, frozen object; a field has its variable's name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from bridge.settings.values import (
    ApiVersion,
    ClientName,
    FieldMap,
    FieldName,
    Flows,
    Host,
    LowerList,
    Moment,
    Networks,
    Pem,
    RedisAddress,
    ScheduleLine,
    Seconds,
    Sentinels,
    States,
    TextList,
    Texts,
    TimeZone,
    Url,
    states_over,
)
from bridge.texts import Messages

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda given: str(given).strip().upper())
]
LoginFlow = Literal["jwt_bearer", "password", "client_credentials"]
KIB = 1024
MIB = 1024 * KIB
NONE = SecretStr("")
_BLOCKED, _TIMEOUT, _SUCCESS = "from-sf-blocked", "from-sf-timeout", "from-sf-success"


def variable(meaning: str, default: Any = ..., *, example: str = "", **more: Any) -> Any:
    """A field with what an operator needs to know: what it means, and how it is written."""
    required = default is ... and "default_factory" not in more
    needed = more.pop("needed", "yes" if required else "")
    shown = {"example": example or ("" if default is ... else str(default)), "needed": needed}
    return Field(default, description=meaning, json_schema_extra=shown, **more)


def _states(meaning: str, state: str) -> Any:
    written = f"whatsapp:{state},facebook:{state}"
    return variable(meaning, {"whatsapp": state, "facebook": state}, example=written)


def _socket_dir() -> Path:
    return Path(tempfile.gettempdir()) / f"bridge-{os.getuid()}"


def _wait_replicas(given: dict[str, Any]) -> int | None:
    return None if given.get("redis_master") and given.get("redis_sentinel_address") else 0


class Settings(BaseModel):
    """All that an operator can set (settings.md, "Variables"). A secret is a SecretStr, empty when not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

    # the service
    app_name: str = variable("Name of the application; part of the Kafka group's id", "salesforce-integration")
    client: ClientName = variable(
        "Name of the tenant; part of every stored key and of each context entry", "salesforce", min_length=1
    )
    environment: str = variable("dev, staging or prod; in dev and staging the restart words are heeded", "dev")
    host: Host = variable("Address that the API listens on", "localhost", example="0.0.0.0")
    port: int = variable("Port that the API listens on; 0 takes a free one", 8080, ge=0, le=65_535)
    workers: int = variable("Worker processes; more than one needs Redis", 1, ge=1, le=256)
    main_context_time_out: Seconds = variable(
        "Seconds that a caller of connect or finish waits for the answer", 10.0, gt=0
    )
    timezone: TimeZone = variable("Time zone of the times that an agent reads", "America/Mexico_City")
    body_limit: int = variable("Largest request body, in bytes", 3 * MIB, ge=1024)
    webhook_body_limit: int = variable("Largest webhook body, in bytes", 256 * KIB, ge=1024)
    log_level: LogLevel = variable("How much is logged", "INFO")
    sentry_dsn: SecretStr = variable(
        "Address of a Sentry project for errors", NONE, example="https://key@sentry.example/1"
    )
    dd_service: str = variable(
        "Datadog's name for the service; other DD_ variables are Datadog's own", "", example="bridge"
    )
    use_profile: bool = variable("Profiling endpoints on the ops socket", False)
    ops_socket_dir: Path = variable(
        "Folder of the sockets that `bridge dump` reads; by default one a user below the temporary folder",
        default_factory=_socket_dir,
        example="/run/bridge",
    )
    env_file: str = variable("A .env file to read; read without the prefix, too", "", example="/etc/bridge/.env")
    secrets_dir: str = variable(
        "A folder with one file a variable; read without the prefix, too", "", example="/run/secrets"
    )

    # who may call the API
    yalo_username: str = variable("User that /v1/authenticate gives the YALO role", "yaloUser", min_length=1)
    yalo_password: SecretStr = variable("Password of that user", example="a long password", min_length=1)
    salesforce_username: str = variable(
        "User that /v1/authenticate gives the SALESFORCE role", "salesforceUser", min_length=1
    )
    salesforce_password: SecretStr = variable("Password of that user", example="a long password", min_length=1)
    secret_key: SecretStr = variable(
        "Key that signs the tokens of /v1/authenticate; at least 32 bytes outside dev",
        example="32 random bytes",
        min_length=1,
    )
    token_ttl: Seconds = variable("Seconds that such a token is valid", 86_400, gt=0)
    integrations_signature: SecretStr = variable("When set, a webhook must carry it", NONE, example="a long secret")
    signature_header: str = variable("Header that carries the signature as it is", "X-Yalo-Signature")
    signature_hmac_header: str = variable(
        "Header that carries sha256=<HMAC of the body keyed with it>", "X-Hub-Signature-256"
    )

    webhook_without_signature: bool = variable(
        "Whether webhooks are believed outside dev although INTEGRATIONS_SIGNATURE is not set", False
    )
    trusted_proxies: Networks = variable(
        "Addresses and networks of the proxies whose X-Forwarded-For names the caller", (), example="10.0.0.0/8,::1"
    )

    # the store
    redis_address: RedisAddress = variable(
        "Redis: host:port, redis:// or rediss://; with neither it nor a Sentinel all is kept inside the process",
        "",
        example="redis:6379",
        repr=False,
    )
    redis_password: SecretStr = variable("Password of Redis", NONE, example="a long password")
    redis_master: str = variable(
        "Name of the master that the Sentinels watch", "", example="mymaster", needed="with Sentinel"
    )
    redis_sentinel_address: Sentinels = variable(
        "Sentinels, separated by ;", (), example="sentinel-1:26379;sentinel-2:26379", needed="with Sentinel"
    )
    redis_wait_replicas: int | None = variable(
        "Replicas that must have a message before it is answered 200; by default all that are connected with Sentinel, "
        "at least one, else 0",
        default_factory=_wait_replicas,
        example="1",
        ge=0,
        le=16,
    )
    partitions: int = variable(
        "Parts that users are spread over; fixed at the first start on a Redis", 64, ge=1, le=4096
    )
    mailbox_limit: int = variable("Messages that a chat may owe before its webhook answers 503", 1000, ge=1)
    clean_context_schedule: ScheduleLine = variable(
        "When old context is swept; the store expires it by itself", "0 9 * * *"
    )
    kafka_host: str = variable("Kafka, instead of Redis streams, for the inboxes", "", example="kafka")
    kafka_port: int = variable("Port of Kafka", 9092, ge=1, le=65_535, needed="with Kafka")
    kafka_user: str = variable("User of Kafka", "", example="bridge", needed="with Kafka")
    kafka_password: SecretStr = variable("Password of Kafka", NONE, example="a long password", needed="with Kafka")
    kafka_topic: str = variable("Topic that is the inbox", "", example="salesforce-messages", needed="with Kafka")

    # the bot
    botrunner_url: Url = variable("Botrunner, which is told the bot's next state", "http://botrunner", min_length=1)
    botrunner_token: SecretStr = variable("Token for it", NONE, example="a token")
    botrunner_timeout: Seconds = variable("Seconds before the blocked and timeout states are sent", 4.0)
    studio_ng_url: Url = variable("Studio NG; when set, it is told instead of Botrunner", "", example="http://studiong")
    studio_ng_token: SecretStr = variable("Token for it", NONE, example="a token")
    studio_ng_timeout: Seconds = variable("Seconds before the blocked and timeout states are sent", 4.0)
    blocked_user_state: Annotated[States, states_over(_BLOCKED)] = _states("State for a blocked contact", _BLOCKED)
    timeout_state: Annotated[States, states_over(_TIMEOUT)] = _states(
        "State when no chat came about or it was lost", _TIMEOUT
    )
    success_state: Annotated[States, states_over(_SUCCESS)] = _states("State after a chat that ended well", _SUCCESS)
    keywords_restart: LowerList = variable(
        "Words that end a chat in dev and staging",
        ("coppelbot", "regresar", "reiniciar", "restart"),
        example="coppelbot,regresar,reiniciar,restart",
    )
    keywords_leave: LowerList = variable("Words that end a chat in every environment", (), example="salir,terminar")

    # the channels
    integrations_base_url: Url = variable(
        "The Integrations API", "", example="https://integrations.example", needed="with a bot"
    )
    integrations_wa_channel: str = variable("Channel of the WhatsApp bot", "outgoing_webhook")
    integrations_wa_bot_id: str = variable("The WhatsApp bot", "", example="shop-wa")
    integrations_wa_bot_jwt: SecretStr = variable("Its token", NONE, example="a JWT", needed="with a WhatsApp bot")
    integrations_wa_bot_phone: str = variable("Its number, to register the webhook", "", example="+525512345678")
    integrations_fb_channel: str = variable("Channel of the Messenger bot", "passthrough")
    integrations_fb_bot_id: str = variable("The Messenger bot", "", example="shop-fb")
    integrations_fb_bot_jwt: SecretStr = variable("Its token", NONE, example="a JWT", needed="with a Messenger bot")
    integrations_fb_bot_phone: str = variable("Its page, to register the webhook", "", example="100000000000001")
    webhook_base_url: Url = variable(
        "Where the Integrations API reaches this service", "", example="https://bridge.example"
    )
    ignore_message_types: LowerList = variable(
        "WhatsApp types that are answered 200 and dropped",
        ("status", "notification-status"),
        example="status,notification-status",
    )
    integration_chan_rate_limit: float = variable("Texts a second to the Integrations API, a worker", 20.0, gt=0)
    messages: Texts = variable(
        "JSON map of texts; it replaces those that it names", Messages(), example='{"waitAgent": "Un momento"}'
    )
    media_allowed_hosts: LowerList = variable(
        "Hosts that files may be fetched from, private ones too; empty: any public address", (), example="media.example"
    )
    media_max_bytes: int = variable("Largest file that is fetched", 10 * MIB, ge=1)
    media_timeout: Seconds = variable("Seconds that a file may take in all", 10.0, gt=0)
    send_image_name_in_message: bool = variable("Whether the agent is told the name of an image", False)

    # Salesforce
    sfc_login_url: Url = variable("Where tokens are asked for", example="https://login.salesforce.com", min_length=1)
    sfc_base_url: Url = variable("The org's data API", example="https://my.salesforce.com", min_length=1)
    sfc_chat_url: Url = variable("Live Agent", example="https://d.la1-c1.salesforceliveagent.com", min_length=1)
    sfc_client_id: str = variable("Consumer key of the connected app", example="3MVG9…", min_length=1)
    sfc_client_secret: SecretStr = variable(
        "Its secret", NONE, example="a secret", needed="unless SFC_PRIVATE_KEY is set"
    )
    sfc_username: str = variable("API user", "", example="api@example.com", needed="for the password and JWT logins")
    sfc_password: SecretStr = variable("Its password; with it the password login is used", NONE, example="a password")
    sfc_security_token: SecretStr = variable(
        "Its security token", NONE, example="a token", needed="where the org asks for it"
    )
    sfc_private_key: Pem = variable(
        "PEM key; with it the JWT bearer login is used", NONE, example="-----BEGIN PRIVATE KEY-----…"
    )
    sfc_api_version: ApiVersion = variable("Version of the data API", "52")
    liveagent_api_version: ApiVersion = variable("Version of Live Agent's API; SFC_API_VERSION where not set", "52")
    sfc_organization_id: str = variable("The org", example="00D000000000001", min_length=1)
    sfc_deployment_id: str = variable("The chat deployment", example="572000000000001", min_length=1)
    sfc_record_type_id: str = variable("Record type of cases", "", example="012000000000001")
    sfc_case_external_id_field: FieldName = variable(
        "Name of a unique external id field of Case; with it a case is made by upsert, so that no crash makes two",
        "",
        example="Bridge_Chat_Id__c",
    )
    sfc_account_record_type_id: str = variable(
        "Record type of person accounts; without it contacts are made", "", example="012000000000002"
    )
    sfc_default_birth_date_account: Moment = variable("Birth date of a new person account", "1921-01-01T00:00:00")
    sfc_source_flow_bot: Flows = variable(
        "The flows, each with its subject and queues: name={json};name={json}",
        example='default={"subject":"Chat","providers":{"whatsapp":{"button_id":"573…","owner_id":"005…"}}}',
    )
    sfc_source_flow_field: str = variable("Key of extraData that names the flow", "source_flow_bot", min_length=1)
    sfc_blocked_chat_field: bool = variable("Whether a contact may be blocked by CP_BlockedChatYalo__c", False)
    sfc_custom_fields_case: FieldMap = variable("extraData key:field of the case", {}, example="order:Order_Number__c")
    sfc_custom_fields_contact: FieldMap = variable("extraData key:field of the contact", {}, example="city:MailingCity")
    sfc_custom_fields_account: FieldMap = variable(
        "extraData key:field of the person account", {}, example="city:BillingCity"
    )
    sfc_custom_fields_to_search_contact: FieldMap = variable(
        "extraData key:field of further contact searches", {}, example="customer:Customer_Number__c"
    )
    sfc_code_phone_remove: TextList = variable(
        "Prefixes cut from phone numbers of more than 10 digits", ("521", "52"), example="521,52"
    )
    spec_schedule: ScheduleLine = variable("When the Salesforce token is renewed", "@every 59m")
    saleforce_chan_rate_limit: float = variable("Texts a second to Live Agent, a worker", 20.0, gt=0)

    desk_text_gap: Seconds = variable(
        "Least seconds between two texts to one agent: Live Agent may lose texts that follow faster", 0.3
    )
    desk_longest_text: int = variable("Characters in one text to an agent; a longer one is split", 4000, ge=100)

    # patience
    max_retries: int = variable("Further tries of a text or a bot state that was refused", 2, ge=0, le=10)
    delivery_give_up: Seconds = variable("Seconds after which a delivery becomes a dead letter", 600.0, gt=0)
    session_give_up: Seconds = variable("Seconds that a desk may be out of reach before its chat is ended", 120.0, gt=0)
    sleep_long_polling_s: Seconds = variable("Pause after a 409 on the long poll", 3.0, example="3s")
    max_wait: Seconds = variable("Seconds on hold before the bridge gives up; 0: never", 0.0)
    queue_update_interval: Seconds = variable(
        "Least seconds between two queue positions told to a user; 0: none is told", 0.0
    )

    @property
    def outside_dev(self) -> bool:
        """Whether real users may be served, so that weak secrets and unsigned webhooks are refused."""
        return self.environment.strip().lower() != "dev"

    @property
    def sfc_login_flow(self) -> LoginFlow:
        """How a token is asked for: it follows from what is set."""
        if self.sfc_private_key:
            return "jwt_bearer"
        return "password" if self.sfc_username and self.sfc_password else "client_credentials"

    @property
    def with_sentinel(self) -> bool:
        """Whether Redis is found through Sentinels; they come before REDIS_ADDRESS."""
        return bool(self.redis_master and self.redis_sentinel_address)

    @property
    def embedded(self) -> bool:
        """Whether the store lives inside this process and nothing survives a stop."""
        return not (self.redis_address or self.with_sentinel)

    @property
    def heeds_restart_words(self) -> bool:
        """Whether KEYWORDS_RESTART end a chat: in dev and staging only (settings.md, "Restart words")."""
        return self.environment.lower() in ("dev", "staging")

    @property
    def kafka_group_id(self) -> str:
        """The consumer group (settings.md, "Kafka")."""
        return f"{self.app_name}-{self.kafka_topic}"
