"""Files that users send: at the case, in order, and said in words (salesforce.md, "Files")."""

from __future__ import annotations

from conftest import Serve
from personas import WAIT, BotUser, MessengerUser
from profiles import PRODUCTION

from bridge.ops.simulator import Simulator
from bridge.ops.simulator.media import OGG, PDF, PNG
from bridge.ops.simulator.org import Record

IMAGE = "**El usuario adjunto una imagen al caso**"
FILE = "**El usuario adjunto un archivo al caso**"
AUDIO = "**El usuario adjunto un audio al caso**"
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(64)


def content(simulator: Simulator, version: Record) -> bytes:
    """What is stored at Salesforce."""
    return simulator.org.blobs[version["Id"][:15]]


# --- each kind --------------------------------------------------------------------------------------------------------

KINDS = [
    ("image", "photo.png", PNG, IMAGE),
    ("document", "invoice.pdf", PDF, FILE),
    ("audio", "voice.ogg", OGG, AUDIO),
    ("voice", "note.ogg", OGG, AUDIO),
    ("video", "clip.mp4", MP4, FILE),
]


def test_whatsapp_files_are_attached_to_the_case_and_announced_to_the_agent(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    for kind, name, data, _ in KINDS:
        user.send_file(kind, simulator.add_file(name, data))
    user.agent.must_read(*(notice for *_, notice in KINDS))
    stored = [(file["PathOnClient"], content(simulator, file)) for file in user.agent.files]
    assert stored == [(name, data) for _, name, data, _ in KINDS]
    assert user.read() == [WAIT]


def test_a_file_is_linked_to_the_case_and_visible_to_all_users(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    user.send_file("image", f"{simulator.url}/media/photo.png")
    user.agent.must_read(IMAGE)
    [file] = user.agent.files
    [link] = [
        link
        for link in simulator.records("ContentDocumentLink")
        if link["ContentDocumentId"] == file["ContentDocumentId"]
    ]
    assert (link["LinkedEntityId"], link["ShareType"], link["Visibility"]) == (user.agent.case["Id"], "V", "AllUsers")
    assert file["ContentLocation"] == "S"


def test_several_messenger_attachments_are_attached_to_the_case_in_order(
    simulator: Simulator, messenger_user: MessengerUser
) -> None:
    messenger_user.talk()
    messenger_user.attach(
        {"type": "image", "payload": {"url": f"{simulator.url}/media/photo.png"}},
        {"type": "file", "payload": {"url": f"{simulator.url}/media/invoice.pdf"}},
        {"type": "audio", "payload": {"url": f"{simulator.url}/media/voice.ogg"}},
        {"type": "location", "payload": {"coordinates": {"lat": 19.4, "long": -99.1}}},
        text="todo junto",
    )
    messenger_user.say("fin")
    place = "Ubicación: https://maps.google.com/?q=19.4,-99.1"
    messenger_user.agent.must_read("todo junto", IMAGE, FILE, AUDIO, place, "fin")
    assert [content(simulator, file) for file in messenger_user.agent.files] == [PNG, PDF, OGG]


def test_a_messenger_file_is_named_by_what_it_is(simulator: Simulator, messenger_user: MessengerUser) -> None:
    url = simulator.add_file("242696087_n.bin", PDF, content_type="application/octet-stream")
    messenger_user.talk()
    messenger_user.attach({"type": "image", "payload": {"url": f"{url}?_nc_cat=105&oh=4b27"}})
    messenger_user.agent.must_read(IMAGE)
    [file] = messenger_user.agent.files
    assert file["PathOnClient"].endswith(".pdf")


# --- names and words --------------------------------------------------------------------------------------------------


def test_a_caption_names_the_file_and_is_a_message_of_its_own(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    user.send_file("image", f"{simulator.url}/media/photo.png", caption="Mi ticket #42 (julio)")
    user.say("¿lo ves?")
    user.agent.must_read(IMAGE, "Mi ticket #42 (julio)", "¿lo ves?")
    [file] = user.agent.files
    assert file["Title"] == "Mi ticket  42  julio"
    assert file["PathOnClient"] == "Mi ticket  42  julio.png"


def test_the_agent_reads_the_files_name_where_the_operator_wants_it(simulator: Simulator, serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().talk()
    user.send_file("image", f"{simulator.url}/media/photo.png", caption="ticket")
    user.agent.must_read(f"{IMAGE} ticket", "ticket")


# --- order ------------------------------------------------------------------------------------------------------------


def test_texts_around_slow_files_keep_their_order(simulator: Simulator, user: BotUser) -> None:
    slow = simulator.add_file("slow.png", PNG, chunk_bytes=len(PNG), chunk_delay_s=0.4)
    user.talk()
    user.say("uno")
    user.send_file("image", slow)
    user.say("dos")
    user.send_file("document", f"{simulator.url}/media/invoice.pdf")
    user.say("tres")
    user.agent.must_read("uno", IMAGE, "dos", FILE, "tres")
    assert [content(simulator, file) for file in user.agent.files] == [PNG, PDF]


def test_a_slow_file_does_not_delay_the_agents_texts(simulator: Simulator, user: BotUser) -> None:
    slow = simulator.add_file("slow.png", PNG, chunk_bytes=len(PNG), chunk_delay_s=0.8)
    user.talk()
    user.send_file("image", slow)
    simulator.wait_for(lambda: [e for e in simulator.entries("media_fetched") if e.text == "slow.png"])
    user.agent.say("¿sigues?")
    user.must_read(WAIT, "¿sigues?", timeout_s=0.7)
    assert user.agent.read_of_user() == []
    user.agent.must_read(IMAGE)


def test_a_file_sent_twice_by_a_repeated_webhook_is_attached_once(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    user.hook(user.send_file("image", f"{simulator.url}/media/photo.png"))
    user.say("fin")
    user.agent.must_read(IMAGE, "fin")
    assert len(user.agent.files) == 1


# --- failures ---------------------------------------------------------------------------------------------------------

WORDS = [("image", "Imagen no enviada"), ("document", "Archivo no enviado"), ("audio", "Audio no enviado")]


def test_the_user_learns_of_files_that_cannot_be_fetched_and_the_texts_go_on(
    simulator: Simulator, user: BotUser
) -> None:
    user.talk()
    user.say("antes")
    for kind, _ in WORDS:
        user.send_file(kind, f"{simulator.url}/media/nowhere.bin", caption="mira")
    user.say("después")
    user.agent.must_read("antes", "después")
    user.must_read(WAIT, *(words for _, words in WORDS))
    assert user.agent.files == []


def test_a_file_that_is_too_large_is_refused(simulator: Simulator, serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().talk()
    user.send_file("image", simulator.add_file("large.png", PNG + bytes(5000)))
    user.send_file("image", simulator.add_file("endless.png", PNG + bytes(3000), chunk_bytes=1000, repeat=1000))
    user.say("fin")
    user.agent.must_read("fin")
    user.must_read(WAIT, "Imagen no enviada", "Imagen no enviada")


def test_a_file_from_a_host_that_is_not_allowed_is_never_requested(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    elsewhere = simulator.url.replace("127.0.0.1", "127.0.0.2")
    fetched = len(simulator.entries("media_fetched"))
    user.send_file("image", f"{elsewhere}/media/photo.png")
    user.send_file("image", "file:///etc/passwd")
    user.send_file("image", "http://169.254.169.254/latest/meta-data")
    user.say("fin")
    user.agent.must_read("fin")
    user.must_read(WAIT, *["Imagen no enviada"] * 3)
    assert len(simulator.entries("media_fetched")) == fetched


def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed(simulator: Simulator, user: BotUser) -> None:
    away = simulator.add_file("away.png", redirect="http://127.0.0.2:1/photo.png")
    home = simulator.add_file("home.png", redirect=f"{simulator.url}/media/photo.png")
    user.talk()
    user.send_file("image", away)
    user.send_file("image", home)
    user.agent.must_read(IMAGE)
    user.must_read(WAIT, "Imagen no enviada")
    assert [content(simulator, file) for file in user.agent.files] == [PNG]


def test_a_file_that_salesforce_refuses_leaves_nothing_behind(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    versions = len(simulator.records("ContentVersion"))
    simulator.configure(missing_fields=["ShareType"])
    user.send_file("image", f"{simulator.url}/media/photo.png")
    user.say("fin")
    user.agent.must_read("fin")
    user.must_read(WAIT, "Imagen no enviada")
    assert len(simulator.records("ContentVersion")) == versions


def test_a_download_that_fails_once_is_tried_again(simulator: Simulator, user: BotUser) -> None:
    simulator.add_fault("/media/photo.png", status=503, times=1)
    user.talk()
    user.send_file("image", f"{simulator.url}/media/photo.png")
    user.agent.must_read(IMAGE)
    assert user.read() == [WAIT]


def test_an_upload_whose_answer_is_lost_is_announced_once(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.add_fault("/salesforce/services/data/*/composite", contains="ContentVersion", status=500, times=1)
    user.send_file("image", f"{simulator.url}/media/photo.png")
    user.say("fin")
    user.agent.must_read(IMAGE, "fin")
    assert len(user.agent.files) == 1
