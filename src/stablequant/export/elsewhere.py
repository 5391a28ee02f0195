"""All files that another program needs of a folder that quantize wrote: graphs in its layout, and its list of tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

import onnx

from stablequant.errors import ExportError
from stablequant.export import layouts
from stablequant.families.frontend import Frontend
from stablequant.heads.ctc import CtcHead
from stablequant.heads.seq2seq import Seq2SeqHead

Graphs = Mapping[str, onnx.ModelProto]
Files = dict[str, bytes]

#: What sherpa-onnx calls the blank, and how it writes a space.
BLANK, SPACE = "<blk>", "\u2581"
#: The first token of a decoder's answer and the one that ends it, which sherpa-onnx takes for granted.
MOONSHINE_IDS = (1,), 2


def sherpa_onnx(frontend: Frontend, graphs: Graphs) -> Files:
    """CTC of a waveform: ``model.onnx``; Moonshine: ``encoder.onnx`` and ``decoder.onnx``; and ``tokens.txt``.

    Raises:
        ExportError: sherpa-onnx has no layout for the model.
    """
    head = frontend.head
    if _reads(graphs, "model") == "input_values" and isinstance(head, CtcHead):
        if not getattr(frontend.processor.feature_extractor, "do_normalize", False):
            what = "the model's feature extractor does not normalise the waveform, and sherpa-onnx always does"
            raise ExportError(what, expected="do_normalize in preprocessor_config.json")
        model = layouts.of_waveform(graphs["model"], len(frontend.processor.tokenizer))
        return {"model.onnx": _checked(model), "tokens.txt": _letters(frontend.processor.tokenizer, head.blank)}
    if _reads(graphs, "encoder") == "input_values" and isinstance(head, Seq2SeqHead):
        if (head.decoder.prompt, head.decoder.end) != MOONSHINE_IDS:
            what = f"the decoder starts with {head.decoder.prompt} and ends with {head.decoder.end}"
            raise ExportError(what, expected="1 and 2, as sherpa-onnx has them for Moonshine")
        return {
            "encoder.onnx": _checked(layouts.encoder(graphs["encoder"], *layouts.audio_source())),
            "decoder.onnx": _checked(layouts.merged_decoder(graphs["decoder"])),
            "tokens.txt": _pieces(frontend.processor.tokenizer),
        }
    raise _no_layout(program="sherpa-onnx", expected="a CTC model that reads a waveform, or Moonshine")


def onnx_asr(frontend: Frontend, graphs: Graphs) -> Files:
    """Multilingual Whisper, of the type "whisper": encoder, merged decoder, vocabulary and configuration.

    Raises:
        ExportError: onnx-asr has no layout for the model.
    """
    head = frontend.head
    requests = head.requests if isinstance(head, Seq2SeqHead) else None
    if _reads(graphs, "encoder") != "input_features" or requests is None or not requests.languages:
        # It puts a language and a task into every prompt, which a model of English alone was never given.
        raise _no_layout(program="onnx-asr", expected="a Whisper of many languages")
    tokenizer = frontend.processor.tokenizer
    added = tokenizer.get_added_vocab()
    plain = {token: index for token, index in tokenizer.get_vocab().items() if token not in added}
    source = layouts.spectrogram_source(int(frontend.config["num_mel_bins"]))
    return {
        "encoder_model.onnx": _checked(layouts.encoder(graphs["encoder"], *source)),
        "decoder_model_merged.onnx": _checked(layouts.merged_decoder(graphs["decoder"])),
        "vocab.json": json.dumps(plain, ensure_ascii=False).encode(),
        "added_tokens.json": json.dumps(added, ensure_ascii=False).encode(),
        "config.json": json.dumps(
            {"num_mel_bins": int(frontend.config["num_mel_bins"]), "model_type": "whisper"}
        ).encode(),
    }


LAYOUTS: dict[str, Callable[[Frontend, Graphs], Files]] = {"sherpa-onnx": sherpa_onnx, "onnx-asr": onnx_asr}


def _reads(graphs: Graphs, name: str) -> str:
    """The first input of a graph; empty if there is none of that name."""
    return graphs[name].graph.input[0].name if name in graphs else ""


def _letters(tokenizer: object, blank: int) -> bytes:
    """A line a token of a CTC model: the token and its id."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()  # type: ignore[attr-defined]
    delimiter = getattr(tokenizer, "word_delimiter_token", None)
    lines = []
    for token, index in sorted(vocabulary.items(), key=lambda item: item[1]):
        lines.append(f"{BLANK if index == blank else SPACE if token == delimiter else token} {index}")
    return "".join(f"{line}\n" for line in lines).encode()


def _pieces(tokenizer: object) -> bytes:
    """A line a piece of a word: its bytes in base64, and its id; special tokens are empty words, as they are not written."""
    lines = []
    special = set(tokenizer.all_special_ids)  # type: ignore[attr-defined]
    for index in range(len(tokenizer)):  # type: ignore[arg-type]
        token = tokenizer.convert_ids_to_tokens(index)  # type: ignore[attr-defined]
        byte = len(token) == 6 and token.startswith("<0x") and token.endswith(">")
        content = bytes([int(token[3:5], 16)]) if byte else token.replace(SPACE, " ").encode()
        if index not in special:
            lines.append(f"{base64.b64encode(content).decode()} {index}\n")
    return "".join(lines).encode()


def _checked(proto: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def _no_layout(program: str, expected: str) -> ExportError:
    what = f"{program} has no layout for this kind of model"
    return ExportError(what, expected=expected, fix="docs/targets.md tells what other programs read")
