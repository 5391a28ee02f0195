"""Folds, a row a model and widths, a column a fold."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/fold.py."""
    s = load_result(name)
    folds = list(next(iter(s["models"].values()))["folds"])
    rows, notes = [], []
    for model, found in s["models"].items():
        cells = {(r["widths"], r["fold"]): r for r in found["rows"]}
        for widths in dict.fromkeys(r["widths"] for r in found["rows"]):
            here = [cells.get((widths, fold)) for fold in folds]
            rows.append([f"{model}, {widths}", *(_cell(r) if r else "" for r in here)])
        told = (
            f"{fold}: {f['layers']} of {found['layers']} layers, parity {f['parity']:.0e}, {f['float_bytes']:.2f} times the bytes"
            for fold, f in found["folds"].items()
            if f["layers"]
        )
        speech = (
            f"{found['calibration_utterances']} utterances ({found['calibration_seconds']:.0f} s) of calibration speech"
        )
        notes.append(
            f"{model}: {found['utterances']} dev utterances of {', '.join(found['data'])}, {found['steps']} steps; {speech}; "
            f"GPTQ for {found['gptq']}; {'; '.join(told)}"
        )
    note = (
        "Thousandths of a nat a step ± standard error; **bold**: better than without a fold beyond chance, *slanted*: worse "
        f"beyond chance (paired 95 % interval). {'. '.join(notes)}. {cpu(s)}."
    )
    commands = {found["command"]: found for found in s["models"].values()}
    return markdown(["thousandths of a nat a step", *folds], rows, note, made_by(*commands.values()))


def _cell(row: dict[str, object]) -> str:
    divergence, error = float(str(row["divergence"])), float(str(row["standard_error"]))
    low, high = row["difference_interval"]  # type: ignore[misc]
    text = f"{1000 * divergence:.2f} ± {1000 * error:.2f}"
    mark = "**" if high < 0 else "*" if low > 0 else ""
    return f"{mark}{text}{mark}"
