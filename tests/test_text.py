"""No text steers a terminal, and none is lost on one that lacks its characters."""

import sys
import unicodedata

import pytest

from hnexport.text import clean, degrade, number_of


def test_every_character_that_steers_or_hides_becomes_a_visible_escape() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        steers = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        turns = unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        tag = 0xE0000 <= number <= 0xE0FFF
        if steers or turns or tag:
            shown = clean(character)
            assert shown.startswith("\\"), hex(number)
            assert shown.isascii(), hex(number)
            assert shown.isprintable(), hex(number)


@pytest.mark.parametrize("hidden", ["\u200b", "\u200d", "\u2060", "\ufeff", "\xad", "\u034f", "\u3164", "\ufe0f"])
def test_what_has_no_width_becomes_visible(hidden: str) -> None:
    assert (
        clean(f"a{hidden}b")
        == f"a\\{'x' if ord(hidden) < 256 else 'u'}{ord(hidden):0{2 if ord(hidden) < 256 else 4}x}b"
    )


@pytest.mark.parametrize("text", ["plain", "[red]x[/red]", ":warning:", "é 中文 😀 Δ … ₂", "a\\b", "100 %"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_a_line_feed_that_is_allowed_cannot_start_a_line_of_ours() -> None:
    assert clean("one\nError: two\r\x1b[A", newlines=True) == "one\n  Error: two\\r\\x1b[A"
    assert clean("one\ntwo") == "one\\ntwo"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp1252", "shift_jis", "utf-8", "utf-16", None])
def test_any_text_can_be_shown_in_any_encoding(encoding: str | None) -> None:
    text = "".join(map(chr, range(0x20, 0x3000))) + "\ud800😀"
    degrade(text, encoding).encode(encoding or "utf-8")


def test_substitutes_can_be_read() -> None:
    assert degrade("0 … 1 → Δ ≤ “x” ─│┏", "ascii") == '0 ... 1 -> difference <= "x" -|+'
    assert degrade("Müller 中", "latin-1") == "Müller \\u4e2d"
    assert degrade("Müller", "ascii") == "M\\xfcller"


def test_one_is_not_many() -> None:
    assert [number_of(count, "member") for count in (0, 1, 2)] == ["0 members", "1 member", "2 members"]
