"""The WSGI application: the routes of every service on one Falcon app, behind the gate that injects faults."""

from __future__ import annotations

import logging
from typing import Any

import falcon
from falcon import Request, Response

from bridge.ops.simulator import botflow, control, integrations, liveagent, media, salesforce
from bridge.ops.simulator.faults import Gate
from bridge.ops.simulator.scene import Scene

_log = logging.getLogger(__name__)


def create_app(scene: Scene) -> tuple[Gate, media.MediaHost, integrations.IntegrationsResource]:
    """The application, and the two resources that tests change while it runs."""
    app: falcon.App[Request, Response] = falcon.App()
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.auto_parse_form_urlencoded = False
    app.add_error_handler(Exception, _crashed)
    settings, ledger = scene.settings, scene.ledger
    liveagent.add_routes(app, settings, scene.desk)
    salesforce.add_routes(app, settings, ledger, tokens=scene.tokens, org=scene.org)
    webhooks = integrations.add_routes(app, settings, ledger)
    botflow.add_routes(app, settings, ledger)
    host = media.add_routes(app, ledger)
    control.add_routes(app, scene, host)
    return Gate(app, scene.faults, ledger, on_503=scene.desk.note_503), host, webhooks


def _crashed(req: Request, resp: Response, error: Exception, params: Any) -> None:
    """Answers 500 for an error of the simulator itself; the body says so."""
    if isinstance(error, falcon.HTTPError | falcon.http_status.HTTPStatus):
        raise error
    _log.exception("the simulator failed at %s %s", req.method, req.path)
    resp.status, resp.media = falcon.HTTP_500, {"simulator_fault": repr(error)}
