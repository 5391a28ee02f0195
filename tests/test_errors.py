import pickle

import pytest

from stablequant import errors
from stablequant.errors import AudioError, DataError, StablequantError, VerificationError


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*(subclasses(c) for c in cls.__subclasses__()))


def test_a_message_says_what_came_what_was_expected_and_how_to_fix_it():
    error = DataError("a.tsv has no text", expected="a column text", fix="name it text.")
    assert str(error) == "a.tsv has no text. Expected a column text. Fix: name it text."
    assert str(DataError("a.tsv is missing")) == "a.tsv is missing."
    assert str(DataError("Which file?", fix="name one")) == "Which file? Fix: name one."


def test_an_audio_error_is_caught_as_a_data_error():
    what = "a.wav is cut short"
    with pytest.raises(DataError, match=what):
        raise AudioError(what)


def test_only_a_failed_verification_exits_with_3():
    tree = subclasses(StablequantError)
    assert {c.__name__ for c in tree} >= {name for name in vars(errors) if name.endswith("Error")}
    assert {c.exit_code for c in tree - {VerificationError}} == {2}
    assert VerificationError("the transcripts differ").exit_code == 3


@pytest.mark.parametrize("cls", sorted(subclasses(StablequantError), key=lambda c: c.__name__))
def test_the_whole_message_crosses_a_process_boundary(cls):
    error = cls("it broke", expected="it whole", fix="glue it")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is cls
    assert str(back) == str(error) == "it broke. Expected it whole. Fix: glue it."


def test_a_name_of_any_length_leaves_a_message_that_can_be_read() -> None:
    message = str(DataError(f"the plan names {'[' * 100_000}, which never runs", expected="x" * 900))
    assert len(message) < 2000
    assert message.startswith("the plan names [[[")
    assert "[[, which never runs. Expected xxx" in message
