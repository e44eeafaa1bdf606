"""What the agent is shown, and what the user is told."""

from __future__ import annotations

import unicodedata
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messages import Media, MediaKind, Provider
from bridge.records import ContextEntry
from bridge.texts import Messages, Texts, split

MEXICO = ZoneInfo("America/Mexico_City")


def texts(*, name_files: bool = False, zone: ZoneInfo = MEXICO, **messages: str) -> Texts:
    longest: dict[Provider, int] = {"whatsapp": 4096, "facebook": 2000}
    return Texts(Messages(**messages), zone, longest_text=longest, name_files=name_files)


def entry(timestamp: int, sender: str = "user", **said: Any) -> ContextEntry:
    return ContextEntry(user_id="521", client="shop", timestamp=timestamp, sender=sender, ttl="", **said)


def test_the_agent_sees_what_was_said_before_as_it_came_in_the_operators_time_zone() -> None:
    said = [entry(1636646674958, "bot", text="¡Hola!\nSoy Coppelbot\n"), entry(1636671948681, text="Ayuda")]
    assert texts().context(said) == (
        "Contexto:\n"
        "Bot [11-11-2021 10:04:34]:¡Hola!\nSoy Coppelbot\n\n"
        "Cliente [11-11-2021 17:05:48]:Ayuda\n\n"
    )  # fmt: skip
    assert "[11-11-2021 23:05:48]" in texts(zone=ZoneInfo("UTC")).context(said)


def test_the_labels_of_the_context_are_the_operators() -> None:
    shown = texts(context="History", client_label="User", bot_label="Robot").context([entry(0, "bot", text="Hi")])
    assert shown.startswith("History:\nRobot [")


def test_a_file_in_the_context_can_be_read_and_opened() -> None:
    said = entry(1636646674958, url="https://x.example/1", mime_type="image/jpeg", caption="Mi ticket")
    assert texts().context([said]).endswith("]:Mi ticket https://x.example/1\n\n")


def test_where_nothing_was_said_nothing_is_shown() -> None:
    assert texts().context([]) == ""


@pytest.mark.parametrize("timestamp", [10**18, -(10**18), 10**30])
def test_a_senseless_time_does_not_cost_the_rest(timestamp: int) -> None:
    assert "]:Hola\n\n" in texts().context([entry(timestamp, text="Hola"), entry(0, text="x")])


def test_the_welcome_says_the_users_name_whatever_it_holds() -> None:
    assert texts().welcome("Ana") == "Hola soy Ana y necesito ayuda"
    assert texts(welcome_template="100 % %s").welcome("%d Ana") == "100 % %d Ana"
    assert texts(welcome_template="Ayuda").welcome("Ana") == "Ayuda"


def test_the_place_in_the_queue_and_the_wait_are_told_in_a_line_each() -> None:
    assert texts().queue(3, 90) == "Posición en la cola: 3\nTiempo de espera: 2 min"
    assert texts().queue(1, 45) == "Posición en la cola: 1\nTiempo de espera: 45 s"


@pytest.mark.parametrize(
    ("position", "wait_s", "told"),
    [
        (None, None, ""),
        (2, None, "Posición en la cola: 2"),
        (2, -1, "Posición en la cola: 2"),
        (0, 0, ""),
        (None, 60, "Tiempo de espera: 60 s"),
    ],
)
def test_what_is_not_known_of_the_queue_is_not_told(position: int | None, wait_s: float | None, told: str) -> None:
    assert texts().queue(position, wait_s) == told


def test_the_operator_may_silence_a_line_of_the_queue() -> None:
    assert texts(queue_position="").queue(3, 90) == "Tiempo de espera: 2 min"
    assert texts(queue_position="", wait_time="").queue(3, 90) == ""


def test_a_transfer_and_a_lost_agent_are_told() -> None:
    assert "otro agente" in texts().transferred("Luis")
    assert texts(chat_transferred="Te atiende %s").transferred("Luis") == "Te atiende Luis"
    assert texts(agent_disconnected="Un momento").agent_left == "Un momento"
    assert texts(file_from_agent="No se puede").file_from_agent == "No se puede"


KINDS: list[tuple[MediaKind, str, str]] = [
    ("image", "**El usuario adjunto una imagen al caso**", "Imagen no enviada"),
    ("audio", "**El usuario adjunto un audio al caso**", "Audio no enviado"),
    ("document", "**El usuario adjunto un archivo al caso**", "Archivo no enviado"),
    ("video", "**El usuario adjunto un archivo al caso**", "Archivo no enviado"),
    ("file", "**El usuario adjunto un archivo al caso**", "Archivo no enviado"),
]


@pytest.mark.parametrize(("kind", "sent", "failed"), KINDS)
def test_each_kind_of_file_has_its_words(kind: MediaKind, sent: str, failed: str) -> None:
    media = Media(kind, "https://x.example/1")
    assert texts().file_sent(media, "name") == sent
    assert texts().file_failed(media) == failed


def test_the_agent_is_told_the_name_where_the_operator_wants_it() -> None:
    media = Media("image", "https://x.example/1")
    assert (
        texts(name_files=True, upload_image_success="Imagen, título: ").file_sent(media, "a97f")
        == "Imagen, título: a97f"
    )
    assert texts(name_files=True).file_sent(media, "") == "**El usuario adjunto una imagen al caso**"


def test_a_long_text_comes_in_pieces() -> None:
    assert [len(part) for part in texts().parts("facebook", "x" * 2500)] == [2000, 500]


# --- long texts -------------------------------------------------------------------------------------------------------

TEXTS = st.text(alphabet=st.sampled_from(["a", "é", " ", "\n", "😀", "\u0301", "\u200d"]), max_size=40)


@given(st.lists(TEXTS, max_size=40), st.integers(1, 300), st.sampled_from([2000, 4096]))
def test_nothing_of_a_long_text_is_lost_and_no_piece_is_too_long(words: list[str], times: int, longest: int) -> None:
    text = "".join(words) * times
    parts = split(text, longest)
    assert "".join(parts) == text
    assert all(0 < len(part) <= longest for part in parts)
    assert len(parts) <= 2 * len(text) // longest + 1


@pytest.mark.parametrize("longest", [1, 2000, 4096])
def test_a_text_that_just_fits_stays_whole(longest: int) -> None:
    assert split("x" * longest, longest) == ["x" * longest]
    assert [len(part) for part in split("x" * (longest + 1), longest)] == [longest, 1]


def test_no_text_is_no_piece() -> None:
    assert split("", 4096) == []


def test_a_piece_ends_after_a_line_rather_than_a_word_and_a_word_rather_than_inside_it() -> None:
    lines = "a" * 1500 + "\n" + "b c " * 200
    assert split(lines, 2000)[0] == "a" * 1500 + "\n"
    words = "word " * 500
    assert all(part.endswith("word ") for part in split(words, 2000))


def test_a_boundary_far_back_does_not_make_a_tiny_piece() -> None:
    assert len(split("a\n" + "b" * 3000, 2000)[0]) == 2000


def test_an_accent_or_a_joined_emoji_stays_with_its_character() -> None:
    accented = "x" * 1999 + "e\u0301" + "y" * 10
    assert [unicodedata.normalize("NFC", part)[0] for part in split(accented, 2000)] == ["x", "é"]
    family = "👩\u200d👧"
    assert split("x" * 1998 + family + "y", 2000)[1].startswith(family)
