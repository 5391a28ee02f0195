"""Commands that use a model: evaluate, transcribe, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stablequant.cli.app import app
from stablequant.cli.console import ProgressLine, plain_errors, print_json, say, show, unbroken
from stablequant.cli.options import (
    MOST_BATCH,
    MOST_ROUNDS,
    MOST_SECONDS,
    MOST_THREADS,
    Checkpoint,
    Data,
    Json,
    Language,
    Runtime,
    Set,
    Task,
    number,
    pairs,
    spoken,
)


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
    conditions: Annotated[
        str,
        typer.Option(
            metavar="NAME[:NUMBER],...",
            help="Evaluate under these as well, int8 beside float: clean, noise:10, telephone ... (see docs/conditions.md).",
            show_default=False,
        ),
    ] = "",
    language: Language = "",
    task: Task = "",
    settings: Set = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Measure the error rate of a float checkpoint, an int8 file, or a simulated plan; without text, words unlike float's."""
    from stablequant.jobs.evaluate import evaluate as run
    from stablequant.report.tables import evaluation

    result = run(
        model,
        data,
        split,
        {**spoken(language, task), **pairs(settings)},
        simulate=simulate,
        checkpoint=checkpoint,
        runtime=runtime,
        conditions=conditions,
        progress=ProgressLine(),
    )
    print_json(result) if json else show(evaluation(result))


@app.command()
@plain_errors()
def transcribe(
    model: Annotated[
        str, typer.Argument(help="A folder that quantize wrote, or a float checkpoint.", show_default=False)
    ],
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.", show_default=False)],
    threads: Annotated[
        int, typer.Option(min=0, max=MOST_THREADS, help="Of the runtime; 0: OMP_NUM_THREADS, or all.")
    ] = 0,
    runtime: Runtime = "",
    checkpoint: Checkpoint = "",
    language: Language = "",
    task: Task = "",
    timestamps: Annotated[
        bool,
        typer.Option("--timestamps", help="Tell the start and end of each segment, of a model that can (Whisper)."),
    ] = False,
    settings: Set = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Transcribe recordings of any length; each text is written as soon as it is there."""
    from stablequant.jobs.transcribe import Transcription
    from stablequant.report.tables import transcribing, transcript_remarks

    asked = {**spoken(language, task), **pairs(settings)}
    work = Transcription.start(
        model,
        files,
        asked,
        runtime=runtime,
        checkpoint=checkpoint,
        threads=threads or None,
        timestamps=timestamps,
    )
    told: set[str] = set()
    progress = ProgressLine()

    def tell(row: dict[str, Any]) -> None:
        if json:
            return
        progress.clear()
        for line in transcript_remarks(row, work.skipped):
            say(line)
        name = f"{row['file']}\t" if len(work.files) > 1 else ""
        if not timestamps:
            show(f"{name}{row['text']}")
        for segment in row.get("segments", ()):
            show(f"{name}{segment['start']:.2f}\t{segment['end']:.2f}\t{segment['text']}")

    def once(row: dict[str, Any]) -> None:
        if row["file"] not in told:
            with unbroken():
                tell(row)
                told.add(row["file"])

    if not json:
        for line in transcribing(work.result()):
            say(line)
    ended = False
    try:
        for row in work.rows(progress):
            once(row)
        ended = True
    finally:  # whatever ended the work: what is done is not lost
        result = work.result()
        for row in result["transcripts"]:
            once(row)
        if json and (ended or result["transcripts"]):
            print_json(result)


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
    rounds: Annotated[int, typer.Option(min=1, max=MOST_ROUNDS, help="Measured, after one that warms up.")] = 5,
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
        seconds=[REAL if part == REAL else number("seconds", part, float, MOST_SECONDS) for part in seconds.split(",")],
        batch=[number("batch", part, int, MOST_BATCH) for part in batch.split(",")],
        threads=[number("threads", part, int, MOST_THREADS) for part in threads.split(",")],
        rounds=rounds,
        progress=ProgressLine(),
    )
    if plot is not None:
        write_text(plot, speeds(result))
    print_json(result) if json else show(benchmarked(result))
