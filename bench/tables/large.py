"""What the default recipe takes at HuBERT-large's size."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.markdown import cpu, made_by, markdown

#: What a stage is, where its name does not say, and whether it takes longer the more speech there is.
STAGES = {
    "load": ("the checkpoint and the speech", False),
    "float evaluation": ("the float model on all that is searched on", True),
    "observe": ("histograms and moments of what layers read, on half as much", True),
    "weights": ("GPTQ", False),
    "search": ("each layer's scheme; the paper's scheme beside it", True),
    "test": ("float, four methods and the plan on an eighth as much", True),
    "export": ("the files", False),
    "verify": ("the files on the test speech, optimised and not", True),
    "speed": ("the files beside float32", False),
}

#: Recordings of a search as it usually is.
WHOLE = 64


def table(name: str) -> str:
    """Of bench/large.py."""
    r = load_result(name)
    unit = r["cpu_seconds"]["float evaluation"]
    rows = [_row(stage, r, unit) for stage in STAGES if stage in r["cpu_seconds"]]
    head = ["stage", "", "seconds of processor", "of a float evaluation", "peak GB"]
    note = (
        f"Random weights of HuBERT-large's shape ({r['float_bytes'] / 1e9:.2f} GB in float32, {r['ops']} operations), "
    )
    note += (
        f"{r['utterances']} recordings of {r['seconds_each']} s to search on, {r['threads']} threads. The search takes "
    )
    note += f"{r['evaluations']:.1f} float evaluations, the paper's scheme beside it {r['paper_evaluations']:.1f} more. {cpu(r)}."
    seconds = sum(r["cpu_seconds"][x] * (WHOLE / r["utterances"] if grows else 1) for x, (_, grows) in STAGES.items())
    whole = f"{seconds / 60:.0f} minutes of processor, {seconds / 120:.0f} on two cores"
    note += f" With {WHOLE} recordings, by these figures, {whole}."
    return markdown(head, rows, note, made_by(r))


def _row(stage: str, r: dict[str, Any], unit: float) -> list[str]:
    seconds = r["cpu_seconds"][stage]
    return [stage, STAGES[stage][0], f"{seconds:.0f}", f"{seconds / unit:.1f}", f"{r['peak_bytes'][stage] / 1e9:.1f}"]
