"""Operators whose services differ from the one that most journeys share: few, because each is a process of its own."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SIMULATOR = "http://simulator"  # stands for its address, which is not known yet

# The desk answers a faster text 200 and does not show it (liveagent.md, "What the simulator decides").
BURST_GAP_S = 0.05

# What makes waiting short; nothing here changes what is done.
QUICK = {
    "botrunner_timeout": "0.1",
    "studio_ng_timeout": "0.1",
    "sleep_long_polling_s": "0.2",
    "max_retries": "1",
}

OUTSIDE_DEV = {"secret_key": "a-long-key-for-a-service-outside-dev", "webhook_without_signature": "true"}

_FLOWS = {
    "default": {
        "subject": "Ayuda",
        "providers": {
            "whatsapp": {"button_id": "573000000000001", "owner_id": "005000000000001"},
            "facebook": {"button_id": "573000000000002", "owner_id": "005000000000002"},
        },
    },
    "SFB001": {
        "subject": "Pedidos; envíos = todo",
        "providers": {
            "whatsapp": {"button_id": "573000000000003", "owner_id": "005000000000003"},
            "facebook": {"button_id": "573000000000004"},
        },
    },
    "only-messenger": {"subject": "Solo", "providers": {"facebook": {"button_id": "573000000000005"}}},
}

# In production: Studio NG, words and fields of its own, leave words, small files.
PRODUCTION = OUTSIDE_DEV | {
    "environment": "prod",
    "timezone": "Europe/Madrid",
    "messages": json.dumps({"CONTEXT": "Antes", "clientLabel": "U", "firstNameContact": "Bot:"}),
    "keywords_leave": "salir,adios",
    "queue_update_interval": "0.001",
    "send_image_name_in_message": "true",
    "media_max_bytes": "5000",
    "studio_ng_url": f"{SIMULATOR}/studio",
    "studio_ng_token": "studio-token",
    "success_state": "whatsapp:wa-ok,facebook:fb-ok",
    "timeout_state": "whatsapp:wa-late,facebook:fb-late",
    "blocked_user_state": "whatsapp:wa-blocked,facebook:fb-blocked",
    "sfc_blocked_chat_field": "true",
    "sfc_source_flow_bot": ";".join(f"{name}={json.dumps(flow)}" for name, flow in _FLOWS.items()),
    "sfc_source_flow_field": "motive",
    "sfc_code_phone_remove": "521,52,1",
    "sfc_custom_fields_case": "order:Order__c,step:Status,urgency:Priority",
    "sfc_custom_fields_contact": "city:City__c",
    "sfc_custom_fields_to_search_contact": "customer:Customer_Number__c,loyalty:Loyalty__c",
}

# In staging: callers, users and Salesforce get little time; logs in by client credentials.
IMPATIENT = OUTSIDE_DEV | {
    "environment": "staging",
    "max_wait": "0.8",
    "queue_update_interval": "0",
    "main_context_time_out": "1",
    "botrunner_token": "a runner's token",
    "sfc_username": "",
    "sfc_password": "",
    "sfc_security_token": "",
}

_key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
PUBLIC_KEY = (
    _key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)

# Signed webhooks, person accounts; logs in by a signed assertion, again every second.
SIGNED = {
    "integrations_signature": "a secret between neighbours",
    "spec_schedule": "@every 1s",
    "sfc_account_record_type_id": "012000000000002",
    "sfc_custom_fields_account": "city:City__pc",
    "sfc_private_key": _key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode(),
    "sfc_password": "",
    "sfc_client_secret": "",
    "sfc_security_token": "",
}
