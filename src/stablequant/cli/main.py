"""stablequant inspect | quantize | export | evaluate | transcribe | benchmark."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from stablequant import __version__
from stablequant.cli.console import ProgressLine, plain_errors, print_json
from stablequant.cli.options import (
    Checkpoint,
    Data,
    Json,
    Model,
    Runtime,
    Set,
    Wait,
    command_line,
    number,
    pairs,
    pool_of,
)

app = typer.Typer(
    help="Make speech models small and fast in int8 without making them worse, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
@plain_errors()
def inspect(model: Model, json: Json = False) -> None:
    """Show a model's family, operations and bytes, and what would be quantised, what not, and why."""
    from stablequant.jobs.inspect import inspect as look
    from stablequant.report.tables import inspection

    found = look(model)
    print_json(found) if json else print(inspection(found))


@app.command()
@plain_errors(resumes=True)
def quantize(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder to write; a stopped run there goes on.", show_default=False)],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what the run will take in passes, time, memory and disk; write nothing."),
    ] = False,
    gamma: Annotated[
        float | None, typer.Option(help="Stage 1 flags a layer that costs more, in points.", show_default=False)
    ] = None,
    p_step: Annotated[
        float | None, typer.Option(help="Step of the search for p, in per cent of the mass.", show_default=False)
    ] = None,
    p_max: Annotated[float | None, typer.Option(help="Largest p tried.", show_default=False)] = None,
    p_spacing: Annotated[
        str | None, typer.Option(help="paper: even steps of p; scale: of the scale.", show_default=False)
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="exact: every trial on all dev speech; racing: on as much as settles it.", show_default=False
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="If the plan costs more points, leave layers in float until it does not.", show_default=False
        ),
    ] = None,
    wait: Wait = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although the model does not work in float on the dev speech.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share the trials, one thread each; memory grows with them.")
    ] = 1,
    executor: Annotated[
        str, typer.Option(help="Where trials run: local, or ray (see docs/search.md).", metavar="local|ray")
    ] = "local",
    address: Annotated[str, typer.Option(help="Of the Ray cluster; empty: one on this machine.")] = "",
    settings: Set = [],  # noqa: B006 - typer reads the default, nobody changes it
    json: Json = False,
) -> None:
    """Observe, search, export to int8, verify, and report WER before and after on held-out speech."""
    from stablequant.jobs.quantize import quantize as run
    from stablequant.report.tables import methods
    from stablequant.report.write import read_summary, write_reports
    from stablequant.runtime.registry import advice
    from stablequant.settings import Settings

    options = {"gamma": gamma, "p_step": p_step, "p_max": p_max, "p_spacing": p_spacing, "max_drop": max_drop}
    given = {name: value for name, value in {**options, "strategy": search}.items() if value is not None}
    chosen = Settings.parse(given | pairs(settings))
    if dry_run:
        from stablequant.jobs.estimate import estimate
        from stablequant.report.tables import dry_run as show

        expected = estimate(model, data, chosen, workers=workers, progress=ProgressLine())
        print_json(dataclasses.asdict(expected)) if json else print(show(expected, chosen))
        return
    pool, progress = pool_of(executor, workers, address), ProgressLine()
    evidence = run(
        model,
        data,
        out,
        chosen,
        command=command_line(),
        pool=pool,
        wait=wait,
        force=force,
        report=write_reports,
        progress=progress,
    )
    summary = read_summary(out)
    print_json(summary) if json else print(methods(summary))
    if told := advice(out, evidence.model.frontend.head.graphs):
        print(told, file=sys.stderr)


@app.command()
@plain_errors()
def trials(
    folder: Annotated[Path, typer.Argument(help="A folder that quantize wrote, or is writing.", show_default=False)],
    json: Json = False,
) -> None:
    """Show the finished trials of a search, and the seconds that each took."""
    from stablequant.report.tables import trials as show
    from stablequant.search.journal import finished

    rows = finished(folder / "trials.sqlite")
    print_json({"folder": str(folder), "trials": rows}) if json else print(show(rows))


@app.command()
@plain_errors()
def export(
    folder: Annotated[Path, typer.Argument(help="A folder that quantize wrote.", show_default=False)],
    target: Annotated[str, typer.Option(help="onnxruntime, openvino or tensorrt.", show_default=False)],
    checkpoint: Checkpoint = "",
    data: Annotated[
        list[str],
        typer.Option(help="Speech to check the files on; default: what quantize had.", show_default=False),
    ] = [],  # noqa: B006
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Write a folder's plan as int8 files for another runtime, checked against the simulation."""
    from stablequant.jobs.export import export as run
    from stablequant.report.tables import exported

    result = run(folder, target, checkpoint=checkpoint, sources=data, wait=wait)
    print_json(result) if json else print(exported(result))


@app.command()
@plain_errors()
def evaluate(
    model: Annotated[
        str, typer.Argument(help="A float checkpoint, or a folder that quantize wrote.", show_default=False)
    ],
    data: Data,
    split: Annotated[str, typer.Option(help="calibration, dev, test, or all.")] = "test",
    simulate: Annotated[
        bool, typer.Option(help="Run the folder's plan in simulation instead of its int8 files.")
    ] = False,
    checkpoint: Checkpoint = "",
    runtime: Runtime = "",
    settings: Set = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Measure the error rate of a float checkpoint, an int8 file, or a simulated plan."""
    from stablequant.jobs.evaluate import evaluate as run
    from stablequant.report.tables import evaluation

    result = run(
        model,
        data,
        split,
        pairs(settings),
        simulate=simulate,
        checkpoint=checkpoint,
        runtime=runtime,
        progress=ProgressLine(),
    )
    print_json(result) if json else print(evaluation(result))


@app.command()
@plain_errors()
def transcribe(
    model: Annotated[
        str, typer.Argument(help="A folder that quantize wrote, or a float checkpoint.", show_default=False)
    ],
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.", show_default=False)],
    threads: Annotated[int, typer.Option(help="Of the runtime; 0: its own choice.")] = 0,
    runtime: Runtime = "",
    checkpoint: Checkpoint = "",
    settings: Set = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Transcribe recordings."""
    from stablequant.jobs.transcribe import transcribe as run
    from stablequant.report.tables import transcribed
    from stablequant.settings import Settings

    chosen = Settings.parse(pairs(settings))
    result = run(
        model,
        files,
        chosen,
        runtime=runtime,
        checkpoint=checkpoint,
        threads=threads or None,
        progress=ProgressLine(),
    )
    if json:
        print_json(result)
        return
    for line in transcribed(result):
        print(line, file=sys.stderr)
    for row in result["transcripts"]:
        print(f"{row['file']}\t{row['text']}" if len(result["transcripts"]) > 1 else row["text"])


@app.command()
@plain_errors()
def benchmark(
    folders: Annotated[list[Path], typer.Argument(help="Folders that quantize wrote.", show_default=False)],
    against: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help="Where the float checkpoint is now; default: where it was.", show_default=False
        ),
    ] = "",
    seconds: Annotated[str, typer.Option(help="Lengths of audio; real: recordings as they are.")] = "2,10,30,real",
    batch: Annotated[str, typer.Option(help="Recordings at a time.")] = "1,8",
    threads: Annotated[str, typer.Option(help="Of the runtime.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, help="Measured, after one that warms up.")] = 5,
    data: Annotated[
        list[str], typer.Option(help="Speech to transcribe; default: what quantize had.", show_default=False)
    ] = [],  # noqa: B006
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the speeds as well.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Time int8 files and the float model side by side in every runtime that is installed."""
    from stablequant.files import write_text
    from stablequant.jobs.benchmark import REAL
    from stablequant.jobs.benchmark import benchmark as run
    from stablequant.report.speeds import speeds
    from stablequant.report.tables import benchmarked

    result = run(
        folders,
        against=against,
        sources=data,
        seconds=[REAL if part == REAL else number("seconds", part, float) for part in seconds.split(",")],
        batch=[number("batch", part, int) for part in batch.split(",")],
        threads=[number("threads", part, int) for part in threads.split(",")],
        rounds=rounds,
        progress=ProgressLine(),
    )
    if plot is not None:
        write_text(plot, speeds(result))
    print_json(result) if json else print(benchmarked(result))


def _version(show: bool) -> None:
    if show:
        print(f"stablequant {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""


def main() -> None:
    """Entry point."""
    # transformers' own progress bars and notes would mix with ours.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Threads that spin while they wait for one another cost up to eight times the time on a machine with other work to
    # do, and gain nothing on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # A batch system that ends a run and a terminal that is closed get what Ctrl-C gets: one message, and nothing lost.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # as under nohup
            signal.signal(ending, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
