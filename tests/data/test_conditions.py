"""Conditions are named, reproducible, and follow from the recording alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import support

from stablequant.data.conditions import GAP, KINDS, Condition, apply, parse
from stablequant.data.speech import Speech
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, SettingsError

NAMES = (*support.SHORT, *support.CALIBRATION)


def under(name: str, speech: Speech, seed: int = 0) -> Speech:
    (condition,) = parse(name)
    return apply(condition, speech, seed, 4, 40.0)


def made_up(count: int, speakers: Sequence[str | None] = (None,)) -> Speech:
    """Tones of one second, each another file in memory."""
    utterances = []
    for i in range(count):
        buffer = io.BytesIO()
        tone = 0.3 * np.sin(2 * np.pi * (200 + 37 * i) * np.arange(16000) / 16000)
        soundfile.write(buffer, tone, 16000, format="WAV", subtype="PCM_16")
        speaker = speakers[i % len(speakers)]
        utterances.append(Utterance(f"u{i:02}", f"word {i}", buffer.getvalue(), speaker=speaker, set_name="tones"))
    return Speech.read(utterances, 16000, max_bad_fraction=0.0, batch_size=4, batch_seconds=40.0)


def test_a_list_of_conditions_is_read_with_usual_numbers_and_without_repetition() -> None:
    found = parse("clean, noise,noise:10,gain:+6,telephone")
    assert found == (Condition("clean"), Condition("noise", 10), Condition("gain", 6), Condition("telephone"))
    assert [c.name for c in found] == ["clean", "noise:10", "gain:6", "telephone"]
    assert found[1].about == "pink noise is added, 10 dB below the level of the speech"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "clean,wind:3",
            r"the condition 'wind:3' is unknown\. Expected one of clean, noise, .* Fix: conditions are clean",
        ),
        ("", r"the condition '' is unknown"),
        ("telephone:3", r"the condition telephone takes no number, and has '3'"),
        ("gain", r"the condition 'gain' has no number that can be used\. Expected gain:NUMBER \(dB, -80 to 40\)"),
        ("noise:loud", r"the condition 'noise:loud' has no number"),
        ("noise:nan", r"the condition 'noise:nan' has no number"),
        ("reverb:60", r"the condition 'reverb:60' has no number that can be used\. Expected .* 0.1 to 5"),
    ],
)
def test_a_wrong_condition_is_named_with_the_list(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        parse(text)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("clean", "long")])
def test_samples_follow_from_recording_and_seed_whatever_order_name_and_batch(kind: str) -> None:
    name = f"{kind}:-20" if kind == "gain" else kind
    speech = support.speech(NAMES[:5])
    backwards = support.speech(NAMES[4::-1], batch_size=3)
    renamed = replace(backwards, utterances=tuple(replace(u, id=f"other {u.id}") for u in backwards.utterances))
    one, other = under(name, speech), under(name, renamed)
    for a, b, clean in zip(one.waveforms, other.waveforms[::-1], speech.waveforms, strict=True):
        assert np.array_equal(a, b)
        assert not np.array_equal(a, clean)
    assert [u.text for u in one.utterances] == [("" if kind == "silence" else u.text) for u in speech.utterances]
    random = kind in ("noise", "babble", "reverb", "silence")
    again = under(name, speech, seed=1)
    assert np.array_equal(again.waveforms[0], one.waveforms[0]) != random


def test_samples_are_these_on_any_machine() -> None:
    """Codes of 16 bits in the middle of one recording, as another machine has to have them: a step more or less is rounding."""
    speech = support.speech(NAMES)
    for name, codes in MIDDLE.items():
        samples = under(name, speech).waveforms[0]
        found = np.rint(samples[len(samples) // 2 :][:4] * 2**15)
        assert np.abs(found - codes).max() <= 1, (name, found.tolist())


def test_a_recording_has_the_same_noise_at_every_level() -> None:
    speech = support.speech(NAMES[:1])
    quiet = replace(speech, waveforms=tuple(w * np.float32(0.1) for w in speech.waveforms))
    first, second = (under(f"noise:{level}", quiet).waveforms[0] - quiet.waveforms[0] for level in (0, 20))
    assert np.corrcoef(first, second)[0, 1] > 0.999
    assert np.std(first) / np.std(second) == pytest.approx(10, rel=0.01)


def test_babble_needs_other_recordings() -> None:
    with pytest.raises(DataError, match=r"babble needs 4 other recordings beside each, and there are 3"):
        under("babble", made_up(4))


def test_long_joins_recordings_of_one_speaker_and_loses_none() -> None:
    speech = made_up(10, speakers=("ann", "ben"))
    found = under("long:3", speech)
    assert [(u.id, u.speaker, u.text) for u in found.utterances] == [
        ("u00 and 1 more", "ann", "word 0 word 2"),
        ("u04 and 1 more", "ann", "word 4 word 6"),
        ("u08", "ann", "word 8"),
        ("u01 and 1 more", "ben", "word 1 word 3"),
        ("u05 and 1 more", "ben", "word 5 word 7"),
        ("u09", "ben", "word 9"),
    ]
    gap = np.zeros(int(GAP * 16000), np.float32)
    assert np.array_equal(found.waveforms[0], np.concatenate([speech.waveforms[0], gap, speech.waveforms[2]]))
    assert sorted(i for batch in found.batches for i in batch) == list(range(6))
    bare = under("long:3", replace(speech, utterances=tuple(replace(u, text=None) for u in speech.utterances)))
    assert {u.text for u in bare.utterances} == {None}


def test_in_silence_there_is_noise_alone_and_at_the_other_end_nothing() -> None:
    speech = made_up(1)
    level = np.std(under("silence:40", speech).waveforms[0]) / np.std(speech.waveforms[0])
    assert 20 * np.log10(level) == pytest.approx(-40, abs=0.5)
    assert not under("silence:100", speech).waveforms[0].any()


#: Of `test_samples_are_these_on_any_machine`; a codec is that of its library's version.
MIDDLE = {
    "noise:10": [-5185, -4939, -5051, -7825],
    "babble:10": [-5761, -7276, -9336, -11519],
    "telephone": [4071, 2965, 1521, -174],
    "reverb": [-2693, -4182, -6667, -8377],
    "speed:0.9": [-4689, -5772, -7356, -9198],
    "gain:-20": [-488, -626, -815, -1018],
    "clipped": [-4885, -6265, -8146, -10182],
    "silence": [28, -49, -54, -31],
}
