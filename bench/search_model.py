"""What a search of HuBERT-large on LibriSpeech dev-clean would take: counted on its graph, scaled by what races heard.

    python bench/search_model.py

Random weights of that size transcribe ten seconds of noise: that gives each layer's share of an evaluation, and this machine's
seconds for one. A race is taken to hear as many words before it settles a layer as it did on average on the small model
with the speech of all sets (bench/results/search_cost.json), and stage 2 the shares that search/racing.py names. Writes
bench/results/search_model.json.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch
from large import WORK, checkpoint
from methods import ROOT

from stablequant.data.speech import Speech
from stablequant.data.utterance import Utterance
from stablequant.families.checkpoint import load
from stablequant.quantize.simulate import Simulator
from stablequant.report.summary import machine
from stablequant.report.tables import table
from stablequant.search.racing import FINALISTS, PILOTS, STAGE_2, STAY
from stablequant.search.remaining_work import shares
from stablequant.settings import Settings

#: LibriSpeech dev-clean (openslr.org/12): hours, and words of its transcripts.
HOURS, WORDS = 5.4, 54402
SECONDS = 10


def main() -> None:
    """Count, time one evaluation, and scale."""
    torch.set_num_threads(1)
    WORK.mkdir(parents=True, exist_ok=True)
    settings = Settings()
    model = load(str(checkpoint(WORK / "hubert-large-random")))
    noise = (0.05 * np.random.default_rng(0).standard_normal(16000 * SECONDS)).astype(np.float32)
    utterance = Utterance("noise", "noise", ROOT / "noise.wav")
    speech = Speech((utterance,), (noise,), 16000, ((0,),), ())
    share = list(shares(model, speech, settings).values())
    simulator = Simulator(model)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        model.frontend.recognize(simulator.backend({}), [noise])
        times.append(time.perf_counter() - began)
    hours = sorted(times)[1] / SECONDS * HOURS

    small = json.loads((ROOT / "bench" / "results" / "search_cost.json").read_text())["models"]["wavlm-graft"]
    heard = small["racing"]["heard_in_stage_1"] * small["words"] / WORDS
    values, part = len(settings.candidates()), 0.0
    standing = values
    for block in STAGE_2:
        if standing <= FINALISTS:
            break
        part += standing * block
        standing = max(FINALISTS, -(-standing // STAY))
    prefix = 1 - min(share)
    pilots = sum(share[-PILOTS:])  # beside float
    rows = {
        "naive": 1 + len(share) + values,
        "exact": 1 + prefix + sum(share) + values,
        "racing": 1 + pilots + heard * (prefix + sum(share[:-PILOTS])) + part + standing,
    }
    result = {
        "layers": len(share),
        "values": values,
        "mean_share": round(float(np.mean(share)), 3),
        "hours_an_evaluation": round(hours, 2),
        "heard": round(heard, 4),
        "rows": {name: {"evaluations": round(n, 1), "hours": round(n * hours, 1)} for name, n in rows.items()},
        "machine": machine(),
    }
    (ROOT / "bench" / "results" / "search_model.json").write_text(json.dumps(result, indent=1) + "\n")
    cells = [[name, f"{r['evaluations']:.1f}", f"{r['hours']:.0f}"] for name, r in result["rows"].items()]
    print(table(["search", "evaluations", "hours on one core"], cells))


if __name__ == "__main__":
    main()
