"""Classes of transformers that recognise speech and are not supported, and what it is that the graphs do not have."""

from __future__ import annotations

from collections.abc import Mapping

_TRANSDUCER = "the decoder and the joint network of a transducer"
_LANGUAGE_MODEL = "a language model that reads the audio's frames among its tokens"

#: Class -> its part that is missing here. docs/models.md lists them.
UNSUPPORTED: Mapping[str, str] = {
    "SEWDForCTC": "disentangled attention, whose positions are a part of its queries and keys",
    "GraniteSpeech5ForCTC": "attention within blocks, and a middle layer whose predictions later layers read",
    "ParakeetForTDT": f"{_TRANSDUCER}, with durations",
    "ParakeetForRNNT": _TRANSDUCER,
    "Nemotron3_5AsrForRNNT": _TRANSDUCER,
    "NemotronAsrStreamingForRNNT": f"{_TRANSDUCER}, and an encoder that streams",
    "CanaryForConditionalGeneration": "a decoder on top of a FastConformer",
    "MoonshineStreamingForConditionalGeneration": "an encoder that streams",
    "Qwen3ASRForConditionalGeneration": _LANGUAGE_MODEL,
    "GraniteSpeechForConditionalGeneration": _LANGUAGE_MODEL,
    "VoxtralForConditionalGeneration": _LANGUAGE_MODEL,
    "VoxtralRealtimeForConditionalGeneration": _LANGUAGE_MODEL,
    "KyutaiSpeechToTextForConditionalGeneration": _LANGUAGE_MODEL,
    "Speech2TextForConditionalGeneration": "an encoder and a decoder with sinusoidal positions",
    "SpeechT5ForSpeechToText": "an encoder and a decoder with several kinds of positions",
    "SeamlessM4Tv2ForSpeechToText": "a decoder of many languages on top of a conformer",
    "SpeechEncoderDecoderModel": "an encoder and a decoder of any two kinds",
}
