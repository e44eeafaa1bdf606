"""The bare handler: JSON in, JSON out."""

from __future__ import annotations

import falcon
import msgspec
from falcon import Request, Response


class BareResource:
    """Decodes a body and answers JSON."""

    def on_post(self, req: Request, resp: Response) -> None:
        """200."""
        msgspec.json.decode(req.bounded_stream.read())
        resp.content_type, resp.data = falcon.MEDIA_JSON, b'{"Message":"insert success"}'

    def on_get(self, req: Request, resp: Response) -> None:
        """200: it is up."""


application: falcon.App[Request, Response] = falcon.App()
application.add_route("/v1/integrations/whatsapp/webhook", BareResource())
application.add_route("/v1/ready", BareResource())
