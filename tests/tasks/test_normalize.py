import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentences import OTHER_SCRIPTS, SENTENCES

from stablequant.errors import SettingsError
from stablequant.tasks import normalize
from stablequant.tasks.normalize import basic, english, turkish

APOSTROPHES = "'`´ʹʻʼʽ՚׳᾽᾿‘’‛′‵ꞌ＇"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("english", "  The COLOUR, um, isn't twenty-five pounds!", "the color is not £25"),
        ("english", "Mr. Smith [laughs] can't (sighs)  realise.", "mister smith can not realize"),
        ("english", "Um, [noise]", ""),
        ("english", "one [noise] ((two) three", "13"),
        ("basic", "  We\N{RIGHT SINGLE QUOTATION MARK}re 'here' — NOW_then, Zoë!", "we're here now then zoë"),
        ("basic", "ﬁve $ ' ... ", "five"),
        ("none", "  Left \n as, IT is. ", "Left as, IT is."),
    ],
)
def test_each_normaliser(name, text, expected):
    assert normalize.get(name)(text) == expected


@pytest.mark.parametrize("text", [text for texts in (SENTENCES | OTHER_SCRIPTS).values() for text in texts])
def test_basic_keeps_every_letter_and_mark(text):
    kept = "".join(c for c in unicodedata.normalize("NFC", text).lower() if unicodedata.category(c)[0] in "LM")
    assert basic(text).replace(" ", "").replace("'", "") == kept.replace("i\u0307", "i")


@pytest.mark.parametrize("apostrophe", APOSTROPHES)
def test_every_apostrophe_is_the_straight_one(apostrophe):
    text = "'Don't,' she said, 'we'd say it's five o'clock.'"
    for clean in (basic, english, turkish):
        assert clean(text.replace("'", apostrophe)) == clean(text)
    assert basic(f"l{apostrophe}eau") == "l'eau"


def test_marks_make_other_words():
    for one, other in (
        ("किताब", "कुतोब"),
        ("मेरी", "मुरा"),
        ("año", "ano"),
        ("schön", "schon"),
        ("Maße", "Masse"),
        ("ไม้", "ไม"),
        ("كَتَبَ", "كُتِبَ"),
        ("sık", "sik"),
    ):
        assert basic(one) != basic(other)
        assert basic(unicodedata.normalize("NFD", one)) == basic(one)


def test_compatibility_forms_are_plain():
    assert basic("ＡＢＣ１２３　ｶﾞ ﬁ ² ① ℡") == "abc123 ガ fi 2 1"
    assert basic("½ Tetris™") == "1 2 tetris"
    assert basic("ﻻ") == "لا"
    assert basic("tʰ ɔ̃ nʲ əˈbaʊt") == "tʰ ɔ̃ nʲ əˈbaʊt"
    # NFKC takes this vowel and these letters apart, and has no way back.
    for text in ("น้ำ", "ທຳ", "ໜຶ່ງ"):
        assert basic(text) == text
        assert normalize.compose(text) == text
    assert basic("น้ํา") == basic("นํ้า") == basic(unicodedata.normalize("NFKC", "น้ำ")) == "น้ำ"


def test_what_is_invisible_makes_no_difference():
    for hidden in "\u200b\ufeff\u00ad\u200e\u200f\u202a\u202e\u2060\u2066\u2069\u00ad\u034f\u3164\ufe0f\x00\x7f":
        assert basic(f"co{hidden}operate") == "cooperate"
        assert english(f"colour{hidden} don{hidden}'t") == "color do not"
    # Joiners choose the shape of letters; nobody hears them, and half of all text is written without.
    assert basic("می\u200cخواهم") == basic("میخواهم")
    assert basic("ක්\u200dෂ") == basic("ක්ෂ")
    # Only in Malayalam does one make another letter, and that has a character of its own.
    assert basic("അവന്\u200d") == basic("അവൻ") != basic("അവന്")
    assert basic("كـــتاب") == basic("كتاب")


def test_the_dotted_and_the_dotless_i():
    assert basic("İstanbul") == basic("I\u0307stanbul") == basic("i\u0307stanbul") == "istanbul"
    assert basic("ısı") == "ısı"
    assert turkish("ISI İNİŞ Iğdır") == "ısı iniş ığdır"
    assert turkish("I\u0307n") == "in"


@pytest.mark.parametrize("name", normalize.NORMALIZERS)
def test_normalising_twice_changes_nothing_more(name):
    clean = normalize.get(name)
    once = clean("Don't  press the POUND key; press 1-2-3, or 'hold' for the centre's operator.")
    assert clean(once) == once


@given(st.text())
def test_any_text_has_a_normal_form(text):
    for clean in (basic, turkish, normalize.none):
        once = clean(text)
        assert clean(once) == once
        assert once == " ".join(once.split())
    english(text)


@pytest.mark.parametrize(
    "text",
    [
        " " * 10**6 + "a",
        "(" * 10**6,
        "[<" * 500_000,
        "7" * 10**6,
        "x" * 10**6,
        "a" + "\u0301\u0323" * 500_000,
        "hello there " * 80_000,
    ],
    ids=["spaces", "open", "brackets", "digits", "letters", "marks", "words"],
)
def test_a_million_characters_take_seconds(text):
    started = time.process_time()
    basic(text)
    english(text)
    assert time.process_time() - started < 60  # about 5; what is quadratic takes hours


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(SettingsError, match="'whisper'.*english, basic, turkish, none"):
        normalize.get("whisper")
