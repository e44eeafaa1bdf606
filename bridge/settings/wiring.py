"""From the settings to what the codecs and the texts are made with, so that those know no settings."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from bridge.codecs.botflow import BotFlowConfig
from bridge.codecs.salesforce.data import SalesforceConfig
from bridge.codecs.salesforce.login import LoginConfig
from bridge.codecs.salesforce.rest import Org
from bridge.messages import Provider
from bridge.settings.load import Settings
from bridge.texts import Texts


def texts(settings: Settings, longest_text: Mapping[Provider, int]) -> Texts:
    """The operator's texts; `longest_text` is how many characters each provider's channel takes in one text."""
    named = settings.send_image_name_in_message
    return Texts(settings.messages, ZoneInfo(settings.timezone), longest_text=longest_text, name_files=named)


def bot_flow(settings: Settings) -> BotFlowConfig:
    """The BOTRUNNER_, STUDIO_NG_ and _STATE settings."""
    return BotFlowConfig(
        states={
            "blocked": settings.blocked_user_state,
            "timeout": settings.timeout_state,
            "success": settings.success_state,
        },
        botrunner_url=settings.botrunner_url.rstrip("/"),
        botrunner_token=settings.botrunner_token,
        botrunner_delay_s=settings.botrunner_timeout,
        studio_ng_url=settings.studio_ng_url.rstrip("/"),
        studio_ng_token=settings.studio_ng_token,
        studio_ng_delay_s=settings.studio_ng_timeout,
    )


def salesforce_login(settings: Settings) -> LoginConfig:
    """The login of the SFC_ settings."""
    return LoginConfig(
        flow=settings.sfc_login_flow,
        login_url=settings.sfc_login_url.rstrip("/"),
        client_id=settings.sfc_client_id,
        client_secret=settings.sfc_client_secret,
        username=settings.sfc_username,
        password=settings.sfc_password,
        security_token=settings.sfc_security_token,
    )


def salesforce_records(settings: Settings) -> SalesforceConfig:
    """The records and flows of the SFC_ settings."""
    return SalesforceConfig(
        org=Org(settings.sfc_base_url.rstrip("/"), settings.sfc_api_version),
        flows=settings.sfc_source_flow_bot,
        flow_field=settings.sfc_source_flow_field,
        record_type_id=settings.sfc_record_type_id,
        account_record_type_id=settings.sfc_account_record_type_id,
        birth_date=settings.sfc_default_birth_date_account,
        blocked_chat_field=settings.sfc_blocked_chat_field,
        case_external_id_field=settings.sfc_case_external_id_field,
        code_phone_remove=settings.sfc_code_phone_remove,
        fields_case=settings.sfc_custom_fields_case,
        fields_contact=settings.sfc_custom_fields_contact,
        fields_account=settings.sfc_custom_fields_account,
        fields_search=settings.sfc_custom_fields_to_search_contact,
        first_name_contact=settings.messages.first_name_contact,
        description_case=settings.messages.description_case,
    )
