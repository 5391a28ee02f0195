"""Feature extractor and tokenizer of a model, as transformers loads them, checked before anything relies on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stablequant.errors import ModelError, StablequantError, memory_ran_out
from stablequant.families.folder import PROCESSOR_FILES
from stablequant.families.json_file import read_object, read_object_if_there

#: Hertz. Speech models take 8 or 16 kHz; nobody records below the one or above the other.
RATES = (4_000, 192_000)
#: Ids decoded to try a tokenizer.
TRIED = 1_000


@dataclass(frozen=True)
class Processor:
    """The two parts of transformers' processors that are used here.

    Only these two are loaded, so the language model of a ``Wav2Vec2ProcessorWithLM`` is left out: decoding is greedy.

    Attributes:
        feature_extractor: From waveforms to model inputs.
        tokenizer: From token ids to text.
    """

    feature_extractor: Any
    tokenizer: Any


def load_processor(folder: Path, *, feature_size: int = 1, language: str | None = None) -> Processor:
    """Feature extractor and tokenizer in ``folder``.

    Args:
        folder: With preprocessor_config.json or processor_config.json, and the tokenizer's files.
        feature_size: Channels of the features that the model takes; 1 is the waveform itself.
        language: Of the vocabulary, where there are several; default: the one that tokenizer_config.json names.

    Raises:
        ModelError: A file is missing or damaged, or holds what cannot be this model's; names it.
    """
    from transformers import AutoFeatureExtractor, AutoTokenizer

    with _loading(folder):
        load_extractor: Any = AutoFeatureExtractor.from_pretrained
        extractor = load_extractor(folder, trust_remote_code=False, local_files_only=True)
    _check_extractor(extractor, feature_size, folder)
    # A tokenizer that was saved as one file has its ids in there; vocab.json is a remnant then.
    vocabulary = {} if (folder / "tokenizer.json").exists() else _vocabulary(folder, language)
    chosen = {} if language is None else {"target_lang": language}
    with _loading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **chosen)
        _try(tokenizer)
    if vocabulary:
        _check_gaps(vocabulary, tokenizer, folder)
    return Processor(extractor, tokenizer)


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Turn whatever transformers' and tokenizers' parsers run into, which is open-ended, into an error that names the file."""
    try:
        yield
    except (StablequantError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the tokenizers package is no Exception
        if memory_ran_out(error):
            raise
        for name in PROCESSOR_FILES:
            if name.endswith(".json"):
                read_object_if_there(folder / name)
        _check_config(folder)
        what = f"the processor in {folder} cannot be loaded ({_reason(error)})"
        raise ModelError(
            what,
            expected="preprocessor_config.json and tokenizer files beside config.json",
            fix="copy them from the model's page",
        ) from error


def _check_config(folder: Path) -> None:
    """The tokenizer's class may be looked up by config.json, of which transformers checks every field it knows."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # as open-ended as the other files'
        what = f"{folder / 'config.json'} cannot be loaded ({_reason(error)})"
        raise ModelError(what, expected="the config.json that belongs to the weights", fix="copy it again") from error


def _reason(error: BaseException) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if len(reason) <= 300 else reason[:297] + "..."


def _check_extractor(extractor: Any, feature_size: int, folder: Path) -> None:
    nested = "feature_extractor" in read_object_if_there(folder / "processor_config.json")
    path = folder / ("processor_config.json" if nested else "preprocessor_config.json")
    low, high = RATES
    rate, size = getattr(extractor, "sampling_rate", None), getattr(extractor, "feature_size", None)
    # Of the waveform alone; spectrograms are scaled in one way.
    normalize = getattr(extractor, "do_normalize", None if feature_size == 1 else False)
    for key, value, fits, expected in (
        ("sampling_rate", rate, type(rate) is int and low <= rate <= high, f"a rate from {low:,} to {high:,} Hz"),
        ("feature_size", size, type(size) is int and size == feature_size, str(feature_size)),
        ("do_normalize", normalize, isinstance(normalize, bool), "true or false"),
    ):
        if not fits:
            what = f"{path} has the {key} {str(value)[:60]}"
            raise ModelError(what, expected=expected, fix="copy the file that belongs to the weights")


def _vocabulary(folder: Path, language: str | None) -> Mapping[str, int]:
    """The ids in vocab.json; of ``language``, or the one that tokenizer_config.json names, where there are several."""
    path = folder / "vocab.json"
    try:
        vocabulary: Any = read_object(path)
    except FileNotFoundError:
        return {}
    if language is None:
        language = read_object_if_there(folder / "tokenizer_config.json").get("target_lang")
    if isinstance(language, str) and isinstance(vocabulary.get(language), dict):
        vocabulary = vocabulary[language]
    seen: dict[int, str] = {}
    for token, index in vocabulary.items():
        if type(index) is not int or index < 0:
            what = f"{path} gives {token!r} the id {str(index)[:60]}"
            raise ModelError(what, expected="whole numbers from 0", fix="copy the tokenizer files of this very model")
        if index in seen:
            what = f"{path} gives {token!r} and {seen[index]!r} the same id {index}"
            raise ModelError(what, expected="an id for each token", fix="copy the tokenizer files of this very model")
        seen[index] = token
    return dict(vocabulary)


def _check_gaps(vocabulary: Mapping[str, int], tokenizer: Any, folder: Path) -> None:
    """An id without a token would be written as the unknown token."""
    largest = max(vocabulary.values())
    ids = {index for index in tokenizer.get_vocab().values() if 0 <= index <= largest}
    if len(ids) <= largest:
        gap = next(index for index in range(len(ids) + 1) if index not in ids)
        what = f"{folder / 'vocab.json'} has {len(ids)} tokens up to the id {largest}, and none with the id {gap}"
        raise ModelError(what, expected="ids without gaps", fix="copy the tokenizer files of this very model")


def _try(tokenizer: Any) -> None:
    """Look up the special tokens and write a few others: some settings that cannot be are met only then."""
    _ = tokenizer.all_special_ids, tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id
    ids = sorted(tokenizer.get_vocab().values())[:TRIED]
    for skip in (False, True):
        text = tokenizer.decode(ids, skip_special_tokens=skip)
        if not isinstance(text, str):
            what = f"it decodes to {type(text).__name__}"
            raise TypeError(what)
