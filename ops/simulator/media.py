"""A host of users' files: any bytes, types, redirects, statuses and speeds."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import falcon
import gevent
import msgspec
from falcon import Request, Response

from bridge.ops.simulator.ledger import Ledger

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\n%%EOF\n"
OGG = b"OggS\x00\x02" + bytes(22) + b"\x01\x13OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"
_CHUNK = 65_536


class File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a name serves. `data` is base64 in JSON.

    `redirect` answers 302 to that URL. `repeat` serves the data that many times over. `chunk_bytes` streams without a
    Content-Length, `chunk_delay_s` before each chunk; `length` claims another Content-Length than the true one.
    """

    data: bytes = b""
    content_type: str = "application/octet-stream"
    status: int = 200
    redirect: str = ""
    repeat: int = 1
    chunk_bytes: int = 0
    chunk_delay_s: float = 0.0
    length: int | None = None


class MediaHost:
    """Files by name; three are there from the start: photo.png, invoice.pdf, voice.ogg."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.files = {
            "photo.png": File(data=PNG, content_type="image/png"),
            "invoice.pdf": File(data=PDF, content_type="application/pdf"),
            "voice.ogg": File(data=OGG, content_type="audio/ogg"),
        }

    def on_get(self, req: Request, resp: Response, name: str) -> None:
        file = self.files.get(name)
        if file is None:
            raise falcon.HTTPNotFound(description="no such file")
        self._ledger.record("media_fetched", text=name)
        if file.redirect:
            resp.status = falcon.HTTP_302
            resp.set_header("Location", file.redirect)
            return
        resp.status, resp.content_type = file.status, file.content_type
        if file.chunk_bytes or file.chunk_delay_s or file.repeat > 1:
            resp.stream = _chunks(file)
        else:
            resp.data = file.data
        if file.length is not None:
            resp.set_header("Content-Length", str(file.length))

    on_head = on_get


def _chunks(file: File) -> Iterator[bytes]:
    size = file.chunk_bytes or _CHUNK
    for _ in range(file.repeat):
        for start in range(0, len(file.data), size):
            gevent.sleep(file.chunk_delay_s)
            yield file.data[start : start + size]


def add_routes(app: falcon.App[Request, Response], ledger: Ledger) -> MediaHost:
    """Everything under `/media`."""
    host = MediaHost(ledger)
    app.add_route("/media/{name:path}", host)
    return host
