"""What the search costs, three ways."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.markdown import cpu, interval, made_by, markdown

SEARCHES = ("naive", "exact", "racing")


def table(name: str) -> str:
    """Of bench/search_cost.py."""
    models = load_result(name)["models"].items()
    rows = [_row(model, m, search) for model, m in models for search in SEARCHES if search in m]
    head = ["search", "float evaluations", "of naive", "minutes of computation", "flagged", "p", "dev WER %"]
    return markdown(head, rows, *(_note(model, m) for model, m in models))


def _row(model: str, m: dict[str, Any], search: str) -> list[str]:
    x = m[search]
    whole = "seconds" in x and (search != "naive" or x["utterances"] == m["exact"]["utterances"])
    return [
        f"{model}, {search}",
        f"{x['evaluations']:.1f}",
        f"{x['evaluations'] / m['naive']['evaluations']:.2f}",
        f"{x['seconds'] / 60:.0f}" if whole else "",
        str(len(x["flagged"])) if whole else "",
        f"{x['p']:g}" if whole and x["p"] is not None else "",
        f"{x['wer']:.2f}" if whole and "wer" in x else "",
    ]


def _note(model: str, m: dict[str, Any]) -> str:
    e, text = m["exact"], []
    text.append(f"{model}: {e['utterances']} dev utterances, {m['words']} words, float {m['float_wer']:.2f} %.")
    if "identical" in e:
        same = "identical to the last bit" if e["identical"] else "not identical"
        text.append(
            f"Exact against naive on {e['identical_on_utterances']} of them: {same} (transcripts, WER, flags, p, scales); "
            f"the naive search counted {m['naive']['measured']:.1f} evaluations there."
        )
    if r := m.get("racing"):
        delta, *ends = r["difference_to_exact"]
        text.append(
            f"Racing flags {'the same layers' if r['same_flagged'] else 'other layers'}; stage 1 evaluated "
            f"{r['share_in_stage_1']:.0%} of the speech on average. Its plan differs from the exact one's by {delta:+.2f} "
            f"points of WER ({interval(ends)})."
        )
    return " ".join([*text, f"{cpu(m)}.", made_by(m)])
