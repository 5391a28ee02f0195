import time
import unicodedata
from pathlib import Path

import pytest
import support

from stablequant.data.utterance import Utterance
from stablequant.errors import VocabularyError
from stablequant.tasks.vocabulary import Alphabet, check_vocabulary

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "[PAD]", "|"]
PHONEMES = "tʰ aɪ kʰ eɪ oʊ dʒ tʃ æ ɪ ɛ ə n s l m ɹ d b f v z w h ŋ ʃ j ɡ ɔ̃ iː".split()
KOREAN = "안녕하세요 반갑습니다"


def refused(text, tokens, share=1.0):
    utterance = Utterance("u", text, Path("u.wav"), source="manifest.jsonl:1")
    return check_vocabulary([utterance], [*SPECIAL, *tokens], share)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Isn't it 25 - or café?", "abcdefghijklmnopqrstuvwxyz'"),
        ("STRASSE Straße", "abcdefghijklmnopqrstuvwxyzäöüß"),
        ("straße", "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜ"),
        ("ışık İÇİN", "ABCÇDEFGĞHIİJKLMNOÖPRSŞTUÜVYZ"),
        ("ışık İÇİN", "abcçdefgğhıijklmnoöprsştuüvyz"),
        ("ＡＢＣ ﬁ", "abcfi"),
        (KOREAN, set(KOREAN)),
        (unicodedata.normalize("NFD", KOREAN), set(KOREAN)),
        (KOREAN, set(unicodedata.normalize("NFD", KOREAN))),
        ("été", [unicodedata.normalize("NFD", "é"), "t"]),
        ("今天天气", "今天气"),
        ("किताब", "कतब"),
        ("tʰ aɪ m", PHONEMES),
        ("tʰaɪm | kʰæn", PHONEMES),
        ("dʒeɪn, s oʊ l oʊ", PHONEMES),
        ("ɔ̃ iː", PHONEMES),
        ("she sings", ["sh", "e", "s", "i", "ng"]),
        ("HH AW1 S", ["HH", "AW1", "S"]),
        ("The cat sat", ["▁the", "▁", "▁c", "at", "▁s"]),
        ("аны", [f"<0x{n:02X}>" for n in range(256)]),
        ("... 42", "ab"),
        ("", "ab"),
    ],
)
def test_what_can_be_put_together_from_tokens_is_accepted(text, tokens):
    assert refused(text, tokens) == {}


@pytest.mark.parametrize(
    ("text", "tokens", "letters"),
    [
        ("привет", "abc", "веипрт"),
        ("안녕 가", set(KOREAN), "가"),
        ("今天好", "今天", "好"),
        ("tʰ aɪ p", PHONEMES, "p"),
        ("k aɪ", PHONEMES, "k"),
        ("dog", ["sh", "do", "ng"], "g"),
        ("pad", ["<pad>"], "adp"),
        ("ж", [f"<0x{n:02X}>" for n in range(255)], "ж"),
    ],
)
def test_letters_that_no_token_writes_are_named(text, tokens, letters):
    assert refused(text, tokens) == {
        "u": f"u.wav has letters in its transcript that the model cannot write ({letters})"
    }
    with pytest.raises(VocabularyError, match=rf"1 of 1 transcripts hold letters .* \({letters}\), as u \(manifest"):
        refused(text, tokens, share=0.5)


def test_the_message_shows_the_alphabet_and_no_more_than_fits():
    assert str(Alphabet.of(["<pad>", "b", "A", "▁"])) == "ab"
    assert str(Alphabet.of(["tʃ", "a"])) == "a tʃ"
    assert len(str(Alphabet.of([chr(0x4E00 + n) for n in range(5000)]))) == 203


def test_a_real_model_reads_its_own_prompts():
    speech = support.speech().utterances
    assert check_vocabulary(speech, support.graft().frontend.processor.tokenizer.get_vocab(), 0.0) == {}


@pytest.mark.parametrize("tokens", ["ab", ["ab", "a", "b" * 20]], ids=["letters", "pieces"])
@pytest.mark.parametrize("text", ["ab" * 500_000, "ab " * 300_000, "a" + "\u0301\u0323" * 500_000])
def test_a_million_characters_take_seconds(text, tokens):
    started = time.process_time()
    assert refused(text, tokens) == {}
    assert time.process_time() - started < 60  # about 5; what is quadratic takes hours
