"""Large checkpoints with random weights, written in bfloat16 shard by shard: no more than a shard is in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import inputs  # first: it sets what torch reads when it is imported
import torch
from random_models import LARGE, WHISPER_LARGE, whisper
from result_path import ROOT
from safetensors.torch import save_file
from transformers import (
    HubertConfig,
    HubertForCTC,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

#: As many as tests/assets/wavlm-graft/vocab.json has.
VOCABULARY = {"vocab_size": 32}
#: Of facebook/wav2vec2-xls-r-1b, from its configuration.
XLS_R_1B = LARGE | VOCABULARY | {"hidden_size": 1280, "num_hidden_layers": 48, "intermediate_size": 5120}
#: As many of its layers as make a float file of more than the 2 GiB that a protobuf message can be.
LAYERS_OF_2_GIB = 28


def _save_ctc_processor(folder: Path) -> None:
    shutil.copyfile(ROOT / inputs.GRAFT / "vocab.json", folder / "vocab.json")
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)


def _hubert_large(folder: Path) -> PreTrainedModel:
    _save_ctc_processor(folder)
    return HubertForCTC(HubertConfig(**LARGE | VOCABULARY))


def _xls_r_1b(folder: Path) -> PreTrainedModel:
    _save_ctc_processor(folder)
    return Wav2Vec2ForCTC(Wav2Vec2Config(**XLS_R_1B))


def _xls_r_1b_part(folder: Path) -> PreTrainedModel:
    _save_ctc_processor(folder)
    return Wav2Vec2ForCTC(Wav2Vec2Config(**XLS_R_1B | {"num_hidden_layers": LAYERS_OF_2_GIB}))


def _whisper_large(folder: Path) -> PreTrainedModel:
    return whisper(folder, WHISPER_LARGE)


#: Writes a processor into a folder and makes the network, whose parameters need no memory.
SHARDED: dict[str, Callable[[Path], PreTrainedModel]] = {
    "HuBERT-large": _hubert_large,
    f"XLS-R-1B-{LAYERS_OF_2_GIB}-layers": _xls_r_1b_part,
    "XLS-R-1B": _xls_r_1b,
    "whisper-large-v3": _whisper_large,
}
#: Of a shard.
SHARD_BYTES = 2**29


def sharded(name: str) -> Path:
    """The folder of a checkpoint in bfloat16 shards, written when first asked for."""
    folder = inputs.WORK / "sharded" / name
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.device("meta"):
            network = SHARDED[name](folder)
        network.config.architectures = [type(network).__name__]
        network.config.save_pretrained(folder)
        shapes = {key: value.shape for key, value in network.state_dict().items() if key != "proj_out.weight"}
        index.write_text(json.dumps({"metadata": {}, "weight_map": _write_shards(folder, shapes)}))
    return folder


def _write_shards(folder: Path, shapes: Mapping[str, torch.Size]) -> dict[str, str]:
    """The file of each tensor. Matrices are normal with a deviation of 0.02, norms do nothing."""
    generator = torch.Generator().manual_seed(0)
    places: dict[str, str] = {}
    part: dict[str, torch.Tensor] = {}
    names = list(shapes)
    for name in names:
        if len(shapes[name]) > 1:
            part[name] = torch.empty(shapes[name], dtype=torch.bfloat16).normal_(0.0, 0.02, generator=generator)
        else:
            part[name] = torch.full(shapes[name], float(name.endswith("weight")), dtype=torch.bfloat16)
        if name == names[-1] or sum(tensor.nbytes for tensor in part.values()) > SHARD_BYTES:
            file = f"model-{len(set(places.values())) + 1:05}.safetensors"
            save_file(part, folder / file, {"format": "pt"})
            places |= dict.fromkeys(part, file)
            part.clear()
    return places
