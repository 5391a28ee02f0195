"""Files of finished runs beside float32."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, markdown
from tables.whisper import HEAD, lines


def table(name: str) -> str:
    """Of bench/running.py, a table a model."""
    made = []
    for model, r in load_result(name)["models"].items():
        note = (
            f"{model}: {r['utterances']} recordings of {', '.join(r['data'])}, {r['words']} words. Speed end to end, best "
            f"float32 = 1: {r['timed']} recordings of all lengths one at a time, one thread, medians of {r['rounds']} rounds "
            f"in turns, and the ratio to the same baseline round by round; {cpu(r)}."
        )
        made.append(markdown([model, *HEAD[1:]], lines(r["rows"]), note, f"`{r['command']}`"))
    return "\n\n".join(made)
