import pytest

from stablequant.errors import SettingsError
from stablequant.tasks import normalize


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("english", "  The COLOUR, um, isn't twenty-five pounds!", "the color is not £25"),
        ("english", "Mr. Smith [laughs] can't (sighs)  realise.", "mister smith can not realize"),
        ("english", "Um, [noise]", ""),
        ("basic", "  We\N{RIGHT SINGLE QUOTATION MARK}re 'here' — NOW_then, Zoë!", "we're here now then zoë"),
        ("basic", "ﬁve $ ' ... ", "five"),
        ("none", "  Left \n as, IT is. ", "Left as, IT is."),
    ],
)
def test_each_normaliser(name, text, expected):
    assert normalize.get(name)(text) == expected


@pytest.mark.parametrize("name", normalize.NORMALIZERS)
def test_normalising_twice_changes_nothing_more(name):
    clean = normalize.get(name)
    once = clean("Don't  press the POUND key; press 1-2-3, or 'hold' for the centre's operator.")
    assert clean(once) == once


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(SettingsError, match="'whisper'.*english, basic, none"):
        normalize.get("whisper")
