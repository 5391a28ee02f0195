import pytest
from sentences import OTHER_SCRIPTS, SENTENCES, UNSPACED

from stablequant.errors import SettingsError
from stablequant.tasks.rules import resolve


def chosen(*args, **kwargs):
    rules = resolve(*args, **kwargs)
    return rules.normalizer, rules.language, rules.unit


def test_the_references_decide():
    assert chosen(texts=["Please hold on.", "tango"]) == ("english", "en", "word")
    assert chosen(texts=SENTENCES["de"]) == ("basic", None, "word")
    assert chosen(texts=SENTENCES["tr"]) == ("turkish", None, "word")
    assert chosen() == ("basic", None, "word")


@pytest.mark.parametrize("code", OTHER_SCRIPTS)
def test_scripts_without_spaces_are_counted_in_characters(code):
    unit = "character" if code in UNSPACED else "word"
    assert chosen(texts=OTHER_SCRIPTS[code]) == ("basic", None, unit)
    # Not by the rules for a language alone: a normaliser that is asked for puts no spaces in either.
    assert chosen("none", texts=OTHER_SCRIPTS[code]) == ("none", None, unit)
    assert chosen(language=code) == ("basic", code, unit)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("english", "en", "word")),
        ("EN-us", ("english", "en", "word")),
        ("eng", ("english", "eng", "word")),
        ("de", ("basic", "de", "word")),
        ("hin", ("basic", "hin", "word")),
        ("tr", ("turkish", "tr", "word")),
        ("aze", ("turkish", "aze", "word")),
        ("zh_Hant_TW", ("basic", "zh", "character")),
        ("yue", ("basic", "yue", "character")),
        ("jpn", ("basic", "jpn", "character")),
    ],
)
def test_a_language_that_is_given_overrides(language, expected):
    assert chosen(language=language) == expected
    assert chosen(language=language, texts=["tango", "9"]) == expected
    other = SENTENCES["de"] if expected[0] == "english" else ["please hold on"]
    assert chosen(language=language, texts=other) == expected


def test_a_normaliser_that_is_asked_for_overrides_both():
    assert chosen("basic", "en", ["please hold on"]) == ("basic", "en", "word")
    assert chosen("english", None, SENTENCES["de"]) == ("english", None, "word")


def test_the_choice_is_explained_in_a_sentence():
    assert "frequent words" in resolve(texts=["please hold on"]).why
    assert "given as 'ja', and the script puts no space" in resolve(language="ja").why
    assert "'none' was asked for, and words stand apart" in resolve("none", texts=["a"]).why
    for rules in (resolve(texts=SENTENCES["tr"]), resolve(), resolve("none")):
        assert rules.why.endswith(".")
        assert rules.why.count(". ") == 0


def test_rules_clean():
    assert resolve(texts=["please hold on"]).clean("DON’T!") == "do not"
    assert resolve(language="tr").clean("IŞIK İÇİN") == "ışık için"


@pytest.mark.parametrize("language", ["jp", "cn", "english", "", "d", "e1", "deutsch", "ｅｎ"])
def test_what_is_no_language_code(language):
    with pytest.raises(SettingsError, match="no language code.*ISO 639"):
        resolve(language=language)


def test_an_unknown_normaliser():
    with pytest.raises(SettingsError, match="'whisper'.*english, basic, turkish, none"):
        resolve("whisper")
