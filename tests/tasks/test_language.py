import json
import random
import unicodedata

import pytest
import support
from sentences import OTHER_SCRIPTS, SENTENCES, UNSPACED

from stablequant.tasks import language
from stablequant.tasks.language import has_dotless_i, is_english, is_unspaced

PROMPTS = [json.loads(line)["text"] for line in (support.SPEECH / "manifest.jsonl").read_text().splitlines()]


def typed_plainly(text):
    """As it is typed where the keyboard has no diacritics."""
    text = text.translate(str.maketrans({"ı": "i", "đ": "d", "ł": "l", "ø": "o", "æ": "ae", "ß": "ss"}))
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def draws(texts, count, size=5):
    rng = random.Random(0)
    return [rng.sample(texts, size) for _ in range(count)]


def test_real_english_prompts_are_english_five_at_a_time():
    assert is_english(PROMPTS)
    assert sum(map(is_english, draws(PROMPTS, 1000))) >= 995


@pytest.mark.parametrize(
    "texts",
    [
        ["press one"],
        ["No more messages."],
        ["Goodbye!"],
        ["I DON’T KNOW"],
        ["Zoë ordered crème brûlée at the café by the sea, and it was very good."],
        ["The angle α is twice the angle β of the other one."],
    ],
)
def test_short_or_decorated_english_is_english(texts):
    assert is_english(texts)


@pytest.mark.parametrize("written", [str, typed_plainly])
@pytest.mark.parametrize("code", SENTENCES)
def test_other_languages_in_latin_script_are_not(code, written):
    texts = [written(text) for text in SENTENCES[code]]
    assert not is_english(texts)
    assert not any(map(is_english, draws(texts, 100)))


@pytest.mark.parametrize("code", SENTENCES)
def test_nor_is_a_language_of_which_nothing_is_known(code, monkeypatch):
    monkeypatch.setattr(language, "OTHERS", {key: words for key, words in language.OTHERS.items() if key != code})
    assert not is_english([typed_plainly(text) for text in SENTENCES[code]])


@pytest.mark.parametrize("texts", [[], [""], ["..."], ["42"], ["um"], ["tango"], ["\ud800"]])
def test_what_tells_nothing_is_not_english(texts):
    assert not is_english(texts)
    assert not is_unspaced(texts)
    assert not has_dotless_i(texts)


@pytest.mark.parametrize("code", OTHER_SCRIPTS)
def test_other_scripts_are_not_english_and_some_have_no_spaces(code):
    assert not is_english(OTHER_SCRIPTS[code])
    assert is_unspaced(OTHER_SCRIPTS[code]) == (code in UNSPACED)


def test_a_few_foreign_words_do_not_decide():
    assert is_unspaced(["请打开 Bluetooth 然后按井号键继续操作"])
    assert not is_unspaced(["the word 猫 means cat"])
    assert is_unspaced(["ｶﾀｶﾅ"])
    assert not is_unspaced(["ＡＢＣ"])


def test_turkish_is_known_by_its_letters_and_not_by_a_name():
    assert has_dotless_i(SENTENCES["tr"])
    assert not has_dotless_i(["Herr Yılmaz kommt heute aus Köln", *SENTENCES["de"]])
    assert not any(has_dotless_i(texts) for code, texts in SENTENCES.items() if code != "tr")
