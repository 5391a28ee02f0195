"""What a search of HuBERT-large on LibriSpeech dev-clean would take: counted on its graph, scaled by what races evaluated.

    python bench/search_model.py

Random weights of that size transcribe ten seconds of noise: that gives each layer's share of an evaluation, and this machine's
seconds for one. A race is taken to evaluate as many words before it settles a layer as it did on average on the small model
(bench/results/search_cost.json), and stage 2 the shares that search/racing.py names. Writes bench/results/search_model.json.
"""

from __future__ import annotations

import time

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import torch
from random_models import checkpoint
from result_path import ROOT, load_result, save
from tables import search_model

from stablequant.data.speech import Speech
from stablequant.data.utterance import Utterance
from stablequant.families.checkpoint import load
from stablequant.quantize.simulate import Simulator
from stablequant.search.racing import FINALISTS, PROBES, STAGE_2, STAY
from stablequant.search.remaining_work import remaining_work
from stablequant.settings import Settings

#: LibriSpeech dev-clean (openslr.org/12): hours, and words of its transcripts.
HOURS, WORDS = 5.4, 54402
SECONDS, RUNS = 10, 3


def main() -> None:
    """Count, time one evaluation, and scale."""
    inputs.arguments_of(__doc__).parse_args()
    torch.set_num_threads(1)
    settings = Settings()
    model = load(checkpoint("HuBERT-large"))
    noise = (0.05 * np.random.default_rng(0).standard_normal(16000 * SECONDS)).astype(np.float32)
    utterance = Utterance("noise", "noise", ROOT / "noise.wav")
    speech = Speech((utterance,), (noise,), 16000, ((0,),), ())
    share = list(remaining_work(model, speech, settings).values())
    backend = Simulator(model).backend({})
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        model.frontend.recognize(backend, [noise])
        times.append(time.perf_counter() - began)
    hours = sorted(times)[RUNS // 2] / SECONDS * HOURS

    small = load_result("search_cost")["models"]["wavlm-graft"]
    evaluated = small["racing"]["share_in_stage_1"] * small["words"] / WORDS
    values, part = len(settings.search.candidates()), 0.0
    left = values
    for block in STAGE_2:
        if left <= FINALISTS:
            break
        part += left * block
        left = max(FINALISTS, -(-left // STAY))
    prefix = 1 - min(share)
    probes = sum(share[-PROBES:])  # beside float
    rows = {
        "naive": 1 + len(share) + values,
        "exact": 1 + prefix + sum(share) + values,
        "racing": 1 + probes + evaluated * (prefix + sum(share[:-PROBES])) + part + left,
    }
    result = {
        "layers": len(share),
        "values": values,
        "runs": RUNS,
        "mean_share": round(float(np.mean(share)), 3),
        "hours_an_evaluation": round(hours, 2),
        "share_in_stage_1": round(evaluated, 4),
        "rows": {name: {"evaluations": round(n, 1), "hours": round(n * hours, 1)} for name, n in rows.items()},
    }
    print(search_model.table(save("search_model", result)))


if __name__ == "__main__":
    main()
