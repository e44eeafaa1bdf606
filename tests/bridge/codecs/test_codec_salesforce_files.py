"""Files at a case: type, name, and the one request."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from urllib.parse import unquote

import pytest

from bridge.codecs.salesforce.files import OCTETS, attach, attachment, kind_of, raise_unless_attached, sniff
from bridge.codecs.salesforce.rest import Org, Token
from bridge.errors import RemoteRefused
from bridge.messages import Media
from bridge.wire import HttpReply

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"
OGG = b"OggS\x00\x02"
OFFICE = "application/vnd.openxmlformats-officedocument"
URL = "https://api.example/media/a97f26b7-1ff4"


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "mime_type", "extension"),
    [
        (JPEG, "image/jpeg", ".jpg"),
        (b"\x89PNG\r\n\x1a\n\0", "image/png", ".png"),
        (b"GIF89a", "image/gif", ".gif"),
        (b"RIFF\x0a\x00\x0d\x00WEBPVP8 ", "image/webp", ".webp"),
        (b"%PDF-1.7", "application/pdf", ".pdf"),
        (OGG, "audio/ogg", ".ogg"),
        (b"ID3\x04", "audio/mpeg", ".mp3"),
        (b"\xff\xfb\x90", "audio/mpeg", ".mp3"),
        (b"\0\0\0\x20ftypM4A \0", "audio/mp4", ".m4a"),
        (b"#!AMR\n", "audio/amr", ".amr"),
        (b"\0\0\0\x0aftypisom", "video/mp4", ".mp4"),
        (b"\0\0\0\x20ftyp3gp5", "video/3gpp", ".3gp"),
        (zipped("a.txt"), "application/zip", ".zip"),
        (zipped("[Content_Types].xml", "word/document.xml"), f"{OFFICE}.wordprocessingml.document", ".docx"),
        (zipped("xl/workbook.xml"), f"{OFFICE}.spreadsheetml.sheet", ".xlsx"),
    ],
)  # fmt: skip
def test_the_content_says_what_it_is(data: bytes, mime_type: str, extension: str) -> None:
    assert sniff(data) == (mime_type, extension)


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFFxxxxAVI ", b"xxxxxxxxWEBP", b"\xff\xd8", b"<html>%PDF-"])
def test_content_without_a_mark_says_nothing(data: bytes) -> None:
    assert sniff(data) is None


def test_the_content_is_believed_before_the_sender() -> None:
    assert kind_of(Media("image", URL, "image/png"), JPEG) == ("image/jpeg", ".jpg")
    assert kind_of(Media("document", URL, "Text/CSV; charset=utf-8"), b"a,b") == ("text/csv", ".csv")
    assert kind_of(Media("document", URL, "application/json"), b"{}") == ("application/json", ".json")
    assert kind_of(Media("document", URL, "text/xml"), b"<a/>") == ("text/xml", ".xml")
    assert kind_of(Media("document", URL, "text/html"), b"<html>") == OCTETS
    assert kind_of(Media("file", URL), b"?") == OCTETS


def named(media: Media, data: bytes = JPEG) -> tuple[str, str]:
    made = attachment(media, data, session_id="session-1")
    assert made.data == data
    return made.title, made.path


def test_a_file_is_called_by_its_caption_without_signs() -> None:
    assert named(Media("image", URL, caption="Mi_factura: año 2021!")) == (
        "Mi_factura  año 2021",
        "Mi_factura  año 2021.jpg",
    )


@pytest.mark.parametrize("caption", ["", "x" * 256, "!!! ¡¿?!", "😀"])
def test_without_a_usable_caption_it_is_called_by_the_end_of_its_url(caption: str) -> None:
    assert named(Media("image", URL, caption=caption)) == ("a97f26b7-1ff4", "a97f26b7-1ff4.jpg")


def test_a_caption_of_255_characters_is_still_a_title_and_its_file_name_is_not_longer() -> None:
    title, path = named(Media("image", URL, caption="x" * 255))
    assert title == "x" * 255
    assert path == "x" * 251 + ".jpg"


def test_a_url_that_ends_in_nothing_leaves_the_session() -> None:
    assert named(Media("image", "https://api.example/?id=1")) == ("session-1", "session-1.jpg")


def test_an_extension_that_is_there_already_is_not_put_twice() -> None:
    assert named(Media("image", "https://x.example/v/2426_n.jpg?_nc=1"))[1] == "2426_n.jpg"
    assert named(Media("image", "https://x.example/photo.JPEG"))[1] == "photo.JPEG"


def test_a_url_cannot_smuggle_a_path_or_a_reference_into_the_name() -> None:
    title, path = named(Media("image", "https://x.example/%2e%2e%2f@%7Bversion.id%7D"))
    assert not set(title + path) & set("/@{}\\")


@pytest.mark.parametrize(
    ("data", "path"), [(OGG, "a97f26b7-1ff4.ogg"), (b"unknown", "a97f26b7-1ff4.ogg"), (b"ID3\x04", "a97f26b7-1ff4.mp3")]
)
def test_audio_is_ogg_unless_it_is_surely_another_sound(data: bytes, path: str) -> None:
    assert named(Media("audio", URL, "audio/ogg; codecs=opus"), data) == (path, path)


def test_one_composite_stores_finds_and_links_all_or_nothing() -> None:
    made = attachment(Media("image", URL), JPEG, session_id="s")
    call = attach(Org("https://my.example", "52"), Token("t"), case_id="500000000000001AAA", attachment=made)
    body = json.loads(call.body)
    assert call.url == "https://my.example/services/data/v52.0/composite"
    assert body["allOrNone"] is True
    store, find, link = body["compositeRequest"]
    assert (store["method"], store["url"]) == ("POST", "/services/data/v52.0/sobjects/ContentVersion")
    assert base64.b64decode(store["body"].pop("VersionData")) == JPEG
    assert store["body"] == {"Title": "a97f26b7-1ff4", "ContentLocation": "S", "PathOnClient": "a97f26b7-1ff4.jpg"}
    assert f"@{{{store['referenceId']}.id}}" in find["url"]
    wanted = "/services/data/v52.0/query?q=SELECT ContentDocumentId FROM ContentVersion WHERE Id = '@{version.id}'"
    assert (find["method"], unquote(find["url"])) == ("GET", wanted)
    assert (link["method"], link["url"]) == ("POST", "/services/data/v52.0/sobjects/ContentDocumentLink")
    assert link["body"] == {
        "ContentDocumentId": f"@{{{find['referenceId']}.records[0].ContentDocumentId}}",
        "LinkedEntityId": "500000000000001AAA",
        "ShareType": "V",
        "Visibility": "AllUsers",
    }


def test_a_file_has_longer_than_a_question_to_arrive() -> None:
    made = attachment(Media("image", URL), JPEG, session_id="s")
    call = attach(Org("https://my.example", "52"), Token("t"), case_id="500000000000001AAA", attachment=made)
    assert call.total_timeout_s >= 60


def answer(*steps: tuple[int, object]) -> HttpReply:
    answered = [{"httpStatusCode": status, "body": body, "referenceId": "r"} for status, body in steps]
    return HttpReply(200, {}, json.dumps({"compositeResponse": answered}).encode())


def test_a_file_that_was_rolled_back_says_why() -> None:
    halted = (400, [{"errorCode": "PROCESSING_HALTED", "message": "rolled back"}])
    raise_unless_attached(answer((201, {"id": "x"}), (200, {"records": []}), (201, {"id": "y"})))
    with pytest.raises(RemoteRefused) as caught:
        raise_unless_attached(
            answer(halted, halted, (400, [{"errorCode": "STORAGE_LIMIT_EXCEEDED", "message": "full"}]))
        )
    assert caught.value.code == "STORAGE_LIMIT_EXCEEDED"
