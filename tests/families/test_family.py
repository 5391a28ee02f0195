"""A family of one's own is registered for its classes, and none takes another's."""

from __future__ import annotations

from typing import Any

import pytest

from stablequant.errors import SettingsError
from stablequant.families import family as registry
from stablequant.families.data2vec import Data2VecAudio
from stablequant.families.family import FAMILIES, family
from stablequant.families.lasr import Lasr
from stablequant.families.moonshine import Moonshine
from stablequant.families.parakeet import Parakeet
from stablequant.families.sew import Sew
from stablequant.families.wav2vec2 import Wav2Vec2
from stablequant.families.wav2vec2_conformer import Wav2Vec2Bert, Wav2Vec2Conformer
from stablequant.families.whisper import Whisper


def kind(*architectures: str) -> Any:
    return type("Mine", (Moonshine,), {"architectures": architectures})


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The registry, a copy that is thrown away."""
    monkeypatch.setattr(registry, "FAMILIES", dict(FAMILIES))
    found: dict[str, Any] = registry.FAMILIES
    return found


def test_the_families_in_the_house_serve_their_classes(families: dict[str, Any]) -> None:
    served = {name: type(made) for name, made in families.items()}
    alike = ("Wav2Vec2ForCTC", "HubertForCTC", "WavLMForCTC", "UniSpeechForCTC", "UniSpeechSatForCTC")
    assert served == {
        **dict.fromkeys(alike, Wav2Vec2),
        "Data2VecAudioForCTC": Data2VecAudio,
        "SEWForCTC": Sew,
        "Wav2Vec2ConformerForCTC": Wav2Vec2Conformer,
        "Wav2Vec2BertForCTC": Wav2Vec2Bert,
        "ParakeetForCTC": Parakeet,
        "LasrForCTC": Lasr,
        "MoonshineForConditionalGeneration": Moonshine,
        "WhisperForConditionalGeneration": Whisper,
    }
    assert families["HubertForCTC"] is families["WavLMForCTC"]


def test_a_new_class_is_served_by_the_family_that_is_registered(families: dict[str, Any]) -> None:
    mine = kind("MineForCTC", "MineTooForCTC")
    assert family(mine) is mine
    assert family(mine) is mine
    assert type(families["MineTooForCTC"]) is mine


def test_a_class_that_has_a_family_is_refused_and_the_family_stays(families: dict[str, Any]) -> None:
    before = dict(families)
    with pytest.raises(SettingsError, match="there is a family of WavLMForCTC already"):
        family(kind("MineForCTC", "WavLMForCTC"))
    assert families == before
