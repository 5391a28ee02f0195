"""whisper.cpp, as pywhispercpp runs it, on a model file written from the same checkpoint; as a program, its memory.

python bench/peers/whispercpp.py FILE    # the most memory of a process that transcribes ten seconds

The package has no converter and no program that quantises, so the file is written here, in the format that whisper.cpp's loader
reads (src/whisper.cpp, whisper_model_load): a header, mel filters, the bytes of every token, then tensors. Weights are rounded by
ggml itself. Which are, and what stays, is what whisper.cpp's own programs do (models/convert-h5-to-ggml.py, examples/quantize):
matrices in the type of the file, convolutions in float16, vectors and positions in float32.
"""

from __future__ import annotations

import ctypes
import re
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stablequant.measure.memory import peak

if TYPE_CHECKING:
    from stablequant.heads.head import Answer

RATE, SECONDS = 16_000, 10
MAGIC = 0x67676D6C
F32, F16 = 0, 1


@dataclass(frozen=True)
class Kind:
    """A type of weights, by the numbers that ggml.h gives it.

    Attributes:
        tensor: Of a tensor (``ggml_type``).
        file: Of a file whose matrices are of this type (``ggml_ftype``).
        block_bytes: Of 32 weights.
    """

    tensor: int
    file: int
    block_bytes: int


#: Of blocks of 32 with a scale in float16 each: Q8_0 has codes of eight bits, Q5_0 of five.
KINDS = {"f16": Kind(F16, 1, 64), "q8_0": Kind(8, 7, 34), "q5_0": Kind(6, 8, 22)}
#: Files of blocks tell the version of that format in thousands.
BLOCKS = 2000
#: transformers' names of parameters and whisper.cpp's, replaced in this order.
NAMES = {
    "model.": "",
    ".layers.": ".blocks.",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "final_layer_norm": "mlp_ln",
    "self_attn": "attn",
    "encoder_attn": "cross_attn",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "encoder.layer_norm": "encoder.ln_post",
    "decoder.layer_norm": "decoder.ln",
    "embed_positions.weight": "positional_embedding",
    "embed_tokens": "token_embedding",
}


class WhisperCpp:
    """Greedy, in one window, without timestamps, and without second attempts at higher temperatures: what all others here do."""

    def __init__(self, file: Path) -> None:
        """Open a model file, on one thread."""
        from pywhispercpp.model import Model

        self._model = Model(
            str(file),
            redirect_whispercpp_logs_to=None,
            n_threads=1,
            language="en",
            no_timestamps=True,
            single_segment=True,
            no_context=True,
            temperature=0.0,
            temperature_inc=0.0,
            no_speech_thold=1.0,
            suppress_blank=True,
            suppress_nst=True,
            print_progress=False,
            print_realtime=False,
        )

    def text(self, sound: Any) -> str:
        """Transcript of one recording at 16 kHz."""
        return " ".join(segment.text.strip() for segment in self._model.transcribe(sound))

    def answers(self, sounds: Any) -> list[Answer]:
        """Of some recordings, one by one."""
        from stablequant.heads.head import Answer

        return [Answer(self.text(sound), ()) for sound in sounds]


def name(kind: str) -> str:
    """What a row is called: with the package's version, and the widest instructions that it is compiled for."""
    import _pywhispercpp

    compiled = re.findall(r"(\w+) = 1", _pywhispercpp.whisper_print_system_info())
    widest = next((each for each in ("AVX512_VNNI", "AVX512", "AVX_VNNI", "AVX2", "NEON") if each in compiled), "plain")
    return f"whisper.cpp, {kind} (pywhispercpp {version('pywhispercpp')} for {widest.replace('_', '-')})"


def write(checkpoint: Path, file: Path, kind: str) -> float:
    """Write a checkpoint of transformers as a model file with weights of ``kind``; returns the seconds that it took."""
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

    began, made = time.perf_counter(), KINDS[kind]
    network = WhisperForConditionalGeneration.from_pretrained(checkpoint)
    filters = WhisperFeatureExtractor.from_pretrained(checkpoint).mel_filters.T
    c = network.config
    sizes = (
        (c.vocab_size, c.max_source_positions),
        (c.d_model, c.encoder_attention_heads, c.encoder_layers),
        (c.max_target_positions, c.d_model, c.decoder_attention_heads, c.decoder_layers),
        (c.num_mel_bins, made.file if made.tensor == F16 else BLOCKS + made.file),
    )
    with file.open("wb") as out:
        out.write(_integers(MAGIC, *(size for part in sizes for size in part)))
        out.write(_integers(*filters.shape) + np.ascontiguousarray(filters, np.float32).tobytes())
        tokens = list(_tokens(AutoTokenizer.from_pretrained(checkpoint)))
        out.write(_integers(len(tokens)))
        for token in tokens:
            out.write(_integers(len(token)) + token)
        for key, value in network.state_dict().items():
            if key != "proj_out.weight":  # it is that of the embedding
                _write_tensor(out, key, value.float().numpy(), made)
    return time.perf_counter() - began


def _integers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def _tokens(tokenizer: Any) -> Iterator[bytes]:
    """The bytes of every token of text in order; whisper.cpp knows those that follow."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte = {character: value for value, character in bytes_to_unicode().items()}
    words = {number: word for word, number in tokenizer.get_vocab().items()}
    for number in range(tokenizer.convert_tokens_to_ids("<|endoftext|>")):
        yield bytes(byte[character] for character in words[number])


def _write_tensor(out: BinaryIO, key: str, values: Any, kind: Kind) -> None:
    """Its header, fastest axis first, and its values."""
    for theirs, whispers in NAMES.items():
        key = key.replace(theirs, whispers)
    if re.fullmatch(r"encoder\.conv\d\.bias", key):
        values = values[:, None]
        tensor = F32
    elif values.ndim == 1 or key.endswith("positional_embedding"):
        tensor = F32
    else:
        tensor = kind.tensor if values.ndim == 2 else F16
    named = key.encode()
    out.write(_integers(values.ndim, len(named), tensor, *reversed(values.shape)) + named)
    if tensor in (F32, F16):
        out.write(values.astype(np.float32 if tensor == F32 else np.float16).tobytes())
    else:
        out.write(_blocks(values, kind))


def _blocks(values: Any, kind: Kind) -> bytes:
    """A matrix as ggml rounds it, in blocks along its rows."""
    import _pywhispercpp

    rows, columns = values.shape
    source = np.ascontiguousarray(values, np.float32)
    into = ctypes.create_string_buffer(source.size // 32 * kind.block_bytes)
    # Symbols of the libraries that an extension is linked with are found through it.
    quantise = ctypes.CDLL(_pywhispercpp.__file__).ggml_quantize_chunk
    quantise.restype = ctypes.c_size_t
    quantise.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    written = quantise(kind.tensor, source.ctypes.data, into, 0, rows, columns, None)
    if written != len(into):
        msg = f"ggml wrote {written} bytes of a matrix of {rows} x {columns}, not {len(into)}"
        raise RuntimeError(msg)
    return into.raw


def peak_rss_bytes(file: Path) -> int:
    """The most memory of a process of its own."""
    from peers.environment import run

    return int(run([sys.executable, Path(__file__), file]).splitlines()[-1])


if __name__ == "__main__":
    noise = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE)
    WhisperCpp(Path(sys.argv[1])).text(noise.astype(np.float32))
    print(peak())
