"""HuBERT-large size, random weights, all the way through: peak memory, minutes, bytes and speed.

    python bench/large.py

Random weights transcribe nothing, so no error rate is reported; what is shown is that a model of this size goes
through observe, both stages, export, verification and timing on a small machine. Writes bench/results/large.json.
"""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    HubertConfig,
    HubertForCTC,
    PreTrainedModel,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)

from stablequant.cli.console import ProgressLine
from stablequant.jobs.quantize import quantize
from stablequant.report.write import write_reports
from stablequant.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench" / "large"
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "vocab_size": 32,
}


def hubert_large() -> PreTrainedModel:
    """A network of facebook/hubert-large-ls960-ft's size, from its configuration."""
    return HubertForCTC(HubertConfig(**LARGE))


def checkpoint(folder: Path, network: Callable[[], PreTrainedModel] = hubert_large) -> Path:
    """A checkpoint of ``network`` with random weights, and a processor."""
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        network().save_pretrained(folder)
        shutil.copyfile(ROOT / "tests" / "assets" / "wavlm-graft" / "vocab.json", folder / "vocab.json")
        tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
        Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return folder


def manifest(path: Path, each: int = 4) -> Path:
    """A few short utterances of each split."""
    source = ROOT / "examples" / "asterisk"
    rows = sorted(map(json.loads, (source / "manifest.jsonl").read_text().splitlines()), key=lambda r: r["duration"])
    short = [r for split in ("train", "dev", "test") for r in [r for r in rows if r["split"] == split][:each]]
    path.write_text("".join(json.dumps({**r, "audio": str(source / r["audio"])}) + "\n" for r in short))
    return path


def main() -> None:
    """Run it and note what it took."""
    WORK.mkdir(parents=True, exist_ok=True)
    model, data = checkpoint(WORK / "hubert-large-random"), manifest(WORK / "speech.jsonl")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    settings = Settings(p_step=0.25, batch_size=4)
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    evidence = quantize(
        str(model), [str(data)], out, settings, command="python bench/large.py", progress=ProgressLine()
    )
    summary = write_reports(evidence, out)
    file = summary["int8_file"]
    result = {
        "model": "HuBERT-large size, random weights",
        "parameters": summary["model"]["float_bytes"] // 4,
        "float_bytes": summary["model"]["float_bytes"],
        "bytes": file["bytes"],
        "bytes_ratio": file["bytes_ratio"],
        "ops": summary["ops"],
        "ops_int8": summary["ops_int8"],
        "speedup": file["speedup"],
        "runtime": file["runtime"],
        "transcripts_identical_to_simulation": file["transcripts_identical_to_simulation"],
        "minutes": round((time.perf_counter() - began) / 60, 2),
        "seconds": summary["seconds"],
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rss_before_bytes": before * 1024,
        "dev_utterances": summary["data"]["dev"]["details"],
        "machine": summary["machine"],
    }
    (ROOT / "bench" / "results" / "large.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
