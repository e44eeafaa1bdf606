"""Files at a case: their type, their name, the request that attaches them (salesforce.md, "Files")."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from bridge.codecs.salesforce.rest import Org, Subrequest, Token, composite_replies, quote
from bridge.messages import Media
from bridge.wire import HttpCall, HttpReply

LONGEST_TITLE = 255
UPLOAD_TIMEOUT_S = 60.0
_VERSION, _DOCUMENT, _LINK = "version", "document", "link"
_OFFICE = "application/vnd.openxmlformats-officedocument"


class Kind(NamedTuple):
    """The type of a file: its content type, and the extension that it is stored with."""

    mime_type: str
    extension: str


OCTETS = Kind("application/octet-stream", ".bin")
_ZIP = Kind("application/zip", ".zip")

_MARKS = (
    (re.compile(rb"\xff\xd8\xff"), Kind("image/jpeg", ".jpg")),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), Kind("image/png", ".png")),
    (re.compile(rb"GIF8[79]a"), Kind("image/gif", ".gif")),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), Kind("image/webp", ".webp")),
    (re.compile(rb"%PDF-"), Kind("application/pdf", ".pdf")),
    (re.compile(rb"OggS"), Kind("audio/ogg", ".ogg")),
    (re.compile(rb"ID3|\xff[\xf2\xf3\xfa\xfb]"), Kind("audio/mpeg", ".mp3")),
    (re.compile(rb"\xff[\xf1\xf9]"), Kind("audio/aac", ".aac")),
    (re.compile(rb"#!AMR"), Kind("audio/amr", ".amr")),
    (re.compile(rb"RIFF.{4}WAVE", re.DOTALL), Kind("audio/wav", ".wav")),
    (re.compile(rb".{4}ftypM4A", re.DOTALL), Kind("audio/mp4", ".m4a")),
    (re.compile(rb".{4}ftyp3g", re.DOTALL), Kind("video/3gpp", ".3gp")),
    (re.compile(rb".{4}ftyp", re.DOTALL), Kind("video/mp4", ".mp4")),
    (re.compile(rb"PK\x03\x04"), _ZIP),
)
_IN_ZIP = {
    b"word/document.xml": Kind(f"{_OFFICE}.wordprocessingml.document", ".docx"),
    b"xl/workbook.xml": Kind(f"{_OFFICE}.spreadsheetml.sheet", ".xlsx"),
    b"ppt/presentation.xml": Kind(f"{_OFFICE}.presentationml.presentation", ".pptx"),
}
# Types that a sender may claim for content without known first bytes.
_CLAIMED = {
    kind.mime_type: kind
    for kind in (
        *(kind for _, kind in _MARKS),
        *_IN_ZIP.values(),
        Kind("text/plain", ".txt"),
        Kind("text/csv", ".csv"),
        Kind("application/json", ".json"),
        Kind("application/xml", ".xml"),
        Kind("text/xml", ".xml"),
        Kind("application/msword", ".doc"),
        Kind("application/vnd.ms-excel", ".xls"),
        Kind("application/vnd.ms-powerpoint", ".ppt"),
    )
}
_SAME_EXTENSION: Mapping[str, tuple[str, ...]] = {".jpg": (".jpg", ".jpeg"), ".mp4": (".mp4", ".m4v", ".mov")}


class Attachment(msgspec.Struct, frozen=True):
    """A file as Salesforce stores it: title, file name, content."""

    title: str
    path: str
    data: bytes

    def __repr__(self) -> str:
        return f"Attachment({len(self.data)} bytes)"


def sniff(data: bytes) -> Kind | None:
    """The type by the first bytes of the content; None when they are of no known type."""
    kind = next((kind for mark, kind in _MARKS if mark.match(data)), None)
    return _inside_zip(data) if kind is _ZIP else kind


def _inside_zip(data: bytes) -> Kind:
    return next((kind for name, kind in _IN_ZIP.items() if name in data), _ZIP)


def kind_of(media: Media, data: bytes) -> Kind:
    """The type by content; else the type that the sender claims; else plain bytes."""
    claimed = media.mime_type.partition(";")[0].strip().lower()
    return sniff(data) or _CLAIMED.get(claimed, OCTETS)


def attachment(media: Media, data: bytes, *, session_id: str) -> Attachment:
    """The file under its name: the caption, else the URL's last part, else the session id."""
    kind = kind_of(media, data)
    extension = _audio_extension(kind) if media.kind == "audio" else kind.extension
    title = _from_caption(media.caption) or _from_url(media.url) or session_id
    path = _with_extension(title, extension)
    return Attachment(path if media.kind == "audio" else title, path, data)


def _audio_extension(kind: Kind) -> str:
    # Voice notes are Ogg. Content that is certainly another kind of audio keeps its own extension.
    return kind.extension if kind.mime_type.startswith("audio/") else ".ogg"


def _from_caption(caption: str) -> str:
    return re.sub(r"\W", " ", caption).strip() if len(caption) <= LONGEST_TITLE else ""


def _from_url(url: str) -> str:
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    # Keep dots and dashes. Salesforce would read `@{` as a reference of the composite.
    return re.sub(r"[^\w.\- ]", " ", last).strip()[:LONGEST_TITLE]


def _with_extension(title: str, extension: str) -> str:
    known = title.lower().endswith(_SAME_EXTENSION.get(extension, (extension,)))
    return title if known else title[: LONGEST_TITLE - len(extension)] + extension


def attach(org: Org, token: Token, *, case_id: str, attachment: Attachment) -> HttpCall:
    """One composite, all or nothing: store the content, ask for its document, link that to the case."""
    steps = (
        Subrequest(
            method="POST",
            url=f"{org.path}/sobjects/ContentVersion",
            reference_id=_VERSION,
            body={
                "Title": attachment.title,
                "ContentLocation": "S",
                "PathOnClient": attachment.path,
                "VersionData": base64.b64encode(attachment.data).decode(),
            },
        ),
        Subrequest(method="GET", url=_document_query(org), reference_id=_DOCUMENT),
        Subrequest(
            method="POST",
            url=f"{org.path}/sobjects/ContentDocumentLink",
            reference_id=_LINK,
            body={
                "ContentDocumentId": f"@{{{_DOCUMENT}.records[0].ContentDocumentId}}",
                "LinkedEntityId": case_id,
                "ShareType": "V",
                "Visibility": "AllUsers",
            },
        ),
    )
    call = org.composite(token, steps, all_or_none=True)
    return msgspec.structs.replace(call, read_timeout_s=UPLOAD_TIMEOUT_S, total_timeout_s=UPLOAD_TIMEOUT_S)


def _document_query(org: Org) -> str:
    # Do not percent-encode the reference: Salesforce looks for it in the URL as written.
    before, after = org.query_path(f"SELECT ContentDocumentId FROM ContentVersion WHERE Id = {quote('|')}").split("%7C")
    return f"{before}@{{{_VERSION}.id}}{after}"


def raise_unless_attached(reply: HttpReply) -> None:
    """Raises RemoteError with the sentence of the first failed step."""
    composite_replies(reply)
