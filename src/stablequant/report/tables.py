"""Tables for the terminal, from the same dictionaries that --json prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stablequant.report.formats import distance, duration, method, nats, paper_note, span

if TYPE_CHECKING:  # with them would come PyTorch, of which a table needs nothing
    from stablequant.jobs.estimate import Estimate
    from stablequant.settings import Settings

#: What is told where nobody wrote down what is said.
NO_TEXT = (
    "the speech has no text: no error rate was measured; counted is what differs from float32's transcripts, "
    "and nats a step by which outputs diverge from float32's"
)

#: Remarks of a kind that a terminal shows.
MOST = 5


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, the first to the left and the rest to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def render(line: Sequence[str]) -> str:
        return "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )

    rule = "  ".join("-" * w for w in widths)
    return "\n".join([render(header).rstrip(), rule, *(render(row).rstrip() for row in rows)])


def methods(summary: dict[str, Any]) -> str:
    """The verdict of a run: float, the baselines, stablequant and the int8 file."""
    file = summary["int8_file"]
    bare = summary["data"]["references"] == "float32"
    mb = summary["model"]["float_bytes"] / 1e6
    middle = ["95 % interval", "nats a step", "standard error"] if bare else ["delta", "95 % interval"]
    rows = [["float32", f"{summary['float']['rate']:.2f}", *[""] * len(middle), f"{mb:.1f}", "1.00x"]]
    for name in (*summary["methods"], "int8 file"):
        r = file if name == "int8 file" else summary["methods"][name]
        low, high = r["delta_interval"]
        size, speed = (f"{file['bytes'] / 1e6:.1f}", f"{file['speedup']:.2f}x") if name == "int8 file" else ("", "")
        label = name if name == "int8 file" else f"{method(name, r)}, simulated"
        numbers = (
            [span(r["rate_interval"]), *distance(r)] if bare else [f"{r['delta']:+.2f}", f"{low:+.2f} to {high:+.2f}"]
        )
        rows.append([label, f"{r['rate']:.2f}", *numbers, size, speed])
    head = [
        summary["widths"].upper() if summary["widths"] != "mixed" else "mixed widths",
        f"{summary['float']['metric']} %",
        *middle,
        "MB",
        "speed",
    ]
    spent = summary["search"]
    float32, cpu = summary["float"], summary["machine"]["cpu"]
    text = f"""{table(head, rows)}

{summary["ops_int8"]} of {summary["ops"]} operations in int8
test: {float32["utterances"]} utterances, {float32["words"]} words
{_scheme(summary)}
search: {spent["evaluations"]:.1f} evaluations of the dev speech ({spent["mode"]}; {spent["naive"]} without shortcuts)
int8 file: {file["bytes_ratio"]:.3f} of float32's bytes, speed against float in {file["runtime"]} on {cpu}"""
    skipped = {i: why for rows in summary["data"]["skipped"].values() for i, why in rows.items()}
    lines = [*filter(None, [paper_note(summary)]), *([NO_TEXT] if bare else [])]
    lines += [*speech_remarks(skipped, summary["data"]["notes"]), *(f"warning: {w}" for w in summary["warnings"])]
    return "\n".join([text, *lines])


def _scheme(summary: dict[str, Any]) -> str:
    """What the layers have, in one line."""
    if found := summary["allocation"]:
        schemes = ", ".join(f"{count} {name}" for name, count in found["schemes"].items())
        return f"layers: {schemes}; {found['divergence']:.4f} nats a step from float"
    p = summary["p"] if not isinstance(summary["p"], dict) else "one a layer"
    return f"flagged: {', '.join(summary['flagged']) or 'none'}; p = {p}"


def speech_remarks(skipped: Mapping[str, str], notes: Sequence[Sequence[str]], most: int = MOST) -> list[str]:
    """What is to be told of recordings: those that were skipped, with the reason, and those that are odd."""
    lines = [f"{len(skipped)} recordings skipped: {'; '.join(skipped.values())}"] if skipped else []
    lines += [f"note: {name}: {note}" for name, note in notes[:most]]
    return [*lines, f"note: {len(notes) - most} more recordings are odd (--json lists them)"] if notes[most:] else lines


def evaluation(result: dict[str, Any]) -> str:
    """One evaluation."""
    low, high = result["rate_interval"]
    other = f"  CER {result['cer']:.2f} %" if result["metric"] == "WER" else ""
    other = f"; {nats(result)} from float32" if "divergence" in result else other
    text = (
        f"{result['metric']} {result['rate']:.2f} % (95 % interval {low:.2f} to {high:.2f}){other}\n"
        f"{result['substitutions']} substitutions, {result['deletions']} deletions, {result['insertions']} insertions "
        f"in {result['words']} words, {result['utterances']} utterances\n"
        f"{result['runtime']}; split {result['split']}; normaliser {result['normalizer']}"
    )
    if "divergence" in result:
        text += f"\n{NO_TEXT}"
    warned = [f"warning: {row['id']}: {sign}" for row in result["transcripts"] for sign in runaway(row)]
    lines = [*warned[:MOST], f"warning: {len(warned) - MOST} more (--json lists them)"] if warned[MOST:] else warned
    if result["in_pieces"]:
        lines.append(
            f"note: {result['in_pieces']} recordings are longer than is transcribed at a time: cut into pieces"
        )
    parts = [text, *lines, *speech_remarks(result["skipped"], result["notes"])]
    return "\n".join([*parts, *(["", conditions(result["conditions"])] if result["conditions"] else [])])


def conditions(rows: Sequence[dict[str, Any]]) -> str:
    """Float and int8 under each condition, and below what is alarming."""
    cells, alarms = [], []
    for row in rows:
        found = [row[name] for name in ("float", "int8")]
        metric = next(f["metric"] for f in found if f)
        rates = [f"{f['rate']:.2f}" if f else "" for f in found]
        beside = row["int8"] and row["int8"].get("delta_interval")
        delta = [f"{row['int8']['delta']:+.2f}", "{:+.2f} to {:+.2f}".format(*beside)] if beside else ["", ""]
        cells.append([row["condition"], metric, *rates, *delta, str(row["utterances"])])
        alarms += [f"alarm: {row['condition']}: {text}" for text in row["alarms"]]
    head = ["condition", "", "float", "int8", "delta", "95 % interval", "recordings"]
    alone = rows[0]["float"] is None
    missing = ["int8 alone: the float checkpoint is not at hand (--checkpoint says where it is)"] if alone else []
    return "\n".join([table(head, cells), *missing, *alarms])


def transcribing(result: dict[str, Any]) -> list[str]:
    """What is to be told before the transcripts come."""
    lines = [f"runtime: {result['runtime']}", *speech_remarks(result["skipped"], result["notes"])]
    return lines + [f"left out: {name}: {why}" for name, why in result["left_out"]]


def transcript_remarks(row: dict[str, Any], skipped: Mapping[str, str]) -> list[str]:
    """What is to be told beside one transcript."""
    name, lines = row["file"], []
    if row["pieces"] > 1:
        lines.append(
            f"note: {name}: longer than is transcribed at a time: {row['pieces']} pieces, cut where it is quietest"
        )
    lines += [f"warning: {name}: {sign}" for sign in runaway(row)]
    if not row["finished"]:
        lines.append(f"warning: {name}: not transcribed to its end{f' ({skipped[name]})' if name in skipped else ''}")
    return lines


def runaway(row: Mapping[str, Any]) -> list[str]:
    """By what a transcript shows that its decoder ran away, each as a part of a sentence."""
    signs = (("cut_off", "cut off at the length limit"), ("repeats", "one phrase over and over"))
    return [f"{words} (a runaway decoder)" for key, words in signs if row[key]]


def exported(result: dict[str, Any]) -> str:
    """The files of a target, and how they were checked."""
    rows = [[c["subject"], c["reference"], f"{c['difference']:.1%}", f"{c['limit']:.1%}"] for c in result["checks"]]
    ran = result["runtime"] or f"not run in {result['target']}: it cannot be run here"
    return f"""{", ".join(result["files"])}
{result["bytes"]:,} bytes, {result["bytes_ratio"]:.3f} of float32's; {ran}

{table(["logits of", "against", "difference", "limit"], rows)}"""


def finetuned(result: dict[str, Any]) -> str:
    """What a model was trained on, and how far it is from float before and after."""
    dev, loss = result["dev"], result["training_loss"]
    names = {"before": "before, quantised", "after": "after, quantised", "float_after": "after, float"}
    rows = [[names[key], f"{dev[key]['divergence']:.4f}", f"{dev[key]['loss']:.4f}"] for key in names]
    speech = f"{result['utterances']} utterances, {result['seconds']:.0f} s"
    return f"""{result["checkpoint"]}: {result["steps"]} steps on {speech} of speech in {result["minutes"]:.1f} min
{result["loss"]}: {loss["first"]:.4f} in the first steps, {loss["last"]:.4f} in the last

{table([f"{dev['utterances']} dev utterances", "nats a step from float", "loss"], rows)}"""


def benchmarked(result: dict[str, Any]) -> str:
    """Speeds case by case, and what each system costs to have loaded."""
    rows = [
        [
            "real" if case["seconds"] == "real" else f"{case['seconds']:g} s",
            str(case["batch"]),
            str(case["threads"]),
            s["name"],
            f"{1000 * s['seconds']:.0f}",
            f"{1000 * s['fastest']:.0f} to {1000 * s['slowest']:.0f}",
            f"{s['real_time_factor']:.4f}",
            f"{s['speedup']:.2f}x",
        ]
        for case in result["cases"]
        for s in case["systems"]
    ]
    head = ["audio", "batch", "threads", "", "ms", "fastest to slowest", "RTF", "best float32 = 1"]
    costs = [
        [
            s["name"],
            s["runtime"],
            f"{s['bytes'] / 1e6:.1f}",
            f"{s['load_seconds']:.2f}",
            f"{s['idle_rss_bytes'] / 1e6:.0f}",
            f"{s['peak_rss_bytes'] / 1e6:.0f}",
        ]
        for s in result["systems"]
    ]
    machine = result["machine"]
    return f"""{table(head, rows)}

{table(["", "runtime", "MB", "load s", "idle MB", "peak MB"], costs)}

{machine["cpu"]} ({", ".join(machine["features"])}), {machine["cores"]} cores; medians of {result["rounds"]} rounds"""


def inspection(found: dict[str, Any]) -> str:
    """A model's operations."""
    rows = [
        [o["name"], o["kind"], "x".join(map(str, o["shape"])), f"{o['parameters']:,}", "int8"] for o in found["ops"]
    ]
    share = found["int8_bytes"] / found["float_bytes"]
    notes = "".join(f"\nnote: {note}" for note in found["notes"])
    left = "\n".join(f"  {f['count']:4} {f['kind']}: {f['reason']}" for f in found["float"])
    adapters = f", adapters of {found['language']}" if found["language"] else ""
    return f"""{table(["operation", "kind", "weight", "parameters", "would be"], rows)}

{found["class"]} ({found["family"]}{adapters}), {found["parameters"]:,} parameters, {len(rows)} operations to quantise
{found["parameters_int8"]:,} parameters in int8
{found["float_bytes"]:,} -> {found["int8_bytes"]:,} bytes ({share:.3f}x)
stays in float:
{left}{notes}"""


def trials(rows: Sequence[dict[str, Any]]) -> str:
    """The finished trials of a search, and their cost in all."""
    cells = [[r["label"], str(r["batches"]), str(r["utterances"]), f"{r['seconds']:.1f}"] for r in rows]
    total = sum(r["seconds"] for r in rows)
    return f"{table(['trial', 'batches', 'utterances', 'seconds'], cells)}\n\n{len(rows)} trials, {total:.1f} seconds"


def recipes(rows: Sequence[dict[str, Any]]) -> str:
    """Bundles of settings, and what each does."""
    lines = []
    for row in rows:
        settings = ", ".join(f"{name}={value}" for name, value in row["settings"].items()) or "the defaults"
        lines.append(f"{row['name']}\n  {row['about']}\n  {settings}")
    return "\n".join(lines)


def dry_run(found: Estimate, settings: Settings) -> str:
    """What a run will take."""
    stages = [
        ["stage 1", f"{found.layers} layers, each alone"],
        ["stage 2", f"{found.values} values of p, if a layer is flagged"],
    ]
    rows = [
        *(stages if found.layers else []),
        ["evaluations of the dev speech", f"{found.evaluations:.0f} at most, {found.naive} without shortcuts"],
        ["time", f"about {duration(found.seconds)}"],
        ["memory", f"{found.peak_bytes / 1e9:.2f} GB, and {found.worker_bytes / 1e9:.2f} GB for each further worker"],
        ["disk", f"{found.disk_bytes / 1e6:.0f} MB"],
    ]
    text = table(["dry run", ""], [[name, value] for name, value in rows])
    if settings.search.strategy == "racing":
        text += "\n\na race takes a part of that: docs/search.md says what part was measured"
    return text
