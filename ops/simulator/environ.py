"""The environment variables of a service whose remote services are all simulated."""

from __future__ import annotations

import json

from bridge.settings.load import variable_name

_FLOWS = {
    "default": {
        "subject": "Ayuda desde el bot",
        "providers": {
            "whatsapp": {"button_id": "573000000000001", "owner_id": "005000000000001"},
            "facebook": {"button_id": "573000000000002", "owner_id": "005000000000002"},
        },
    }
}


def sandbox_environ(simulator_url: str, **overrides: str) -> dict[str, str]:
    """A complete, valid environment for the simulator at `simulator_url`; `overrides` are by field name."""
    return {variable_name(field): text for field, text in (_for_simulator(simulator_url) | overrides).items()}


def _for_simulator(url: str) -> dict[str, str]:
    return _PLAIN | {
        "sfc_login_url": f"{url}/salesforce",
        "sfc_base_url": f"{url}/salesforce",
        "sfc_chat_url": f"{url}/liveagent",
        "integrations_base_url": f"{url}/integrations",
        "botrunner_url": f"{url}/botrunner",
    }


_PLAIN = {
    "environment": "dev",
    "host": "127.0.0.1",
    "timezone": "America/Mexico_City",
    "yalo_password": "yalo-password",
    "salesforce_password": "salesforce-password",
    "secret_key": "a-key-for-the-sandbox-and-for-tests-only",
    "botrunner_timeout": "0.2",
    "studio_ng_timeout": "0.2",
    "integrations_wa_bot_id": "sandbox-wa",
    "integrations_wa_bot_jwt": "sandbox-wa-jwt",
    "integrations_wa_bot_phone": "+525512345678",
    "integrations_fb_bot_id": "sandbox-fb",
    "integrations_fb_bot_jwt": "sandbox-fb-jwt",
    "integrations_fb_bot_phone": "100000000000001",
    "webhook_base_url": "http://127.0.0.1:8080",
    "media_allowed_hosts": "127.0.0.1,localhost",
    "sfc_client_id": "sandbox-client",
    "sfc_client_secret": "sandbox-client-secret",
    "sfc_username": "api@sandbox.example",
    "sfc_password": "sandbox-password",
    "sfc_security_token": "sandbox-security-token",
    "sfc_organization_id": "00D000000000001",
    "sfc_deployment_id": "572000000000001",
    "sfc_record_type_id": "012000000000001",
    "sfc_source_flow_bot": ";".join(f"{name}={json.dumps(flow)}" for name, flow in _FLOWS.items()),
}
