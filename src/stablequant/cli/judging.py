"""Commands that judge a plan after it was made: drift, clipped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stablequant.cli.app import app
from stablequant.cli.console import ProgressLine, plain_errors, print_json, show
from stablequant.cli.options import Checkpoint, Data, Json

Folder = Annotated[Path, typer.Argument(help="A folder that quantize wrote.", show_default=False)]

#: Exit code of speech that calibration does not cover.
NOT_COVERED = 3


@app.command()
@plain_errors()
def drift(
    folder: Folder,
    data: Annotated[
        list[str],
        typer.Option(
            help="Production speech, as for quantize, but without need of text; or FILE.npz that --save wrote. May be repeated.",
            show_default=False,
        ),
    ],
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="Write what was observed as a part, to be judged with others.", show_default=False
        ),
    ] = None,
    false_alarms: Annotated[
        float, typer.Option(help="Rate at which speech of calibration's own kind is said not to be covered.")
    ] = 0.01,
    checkpoint: Checkpoint = "",
    json: Json = False,
) -> None:
    """Say whether calibration still fits production speech; exit code 3 where it does not."""
    from stablequant.jobs.drift import drift as run
    from stablequant.report.drift import drift as told

    result = run(folder, data, checkpoint=checkpoint, save=save, false_alarms=false_alarms, progress=ProgressLine())
    print_json(result) if json else show(told(result))
    if not result["covered"]:
        raise typer.Exit(NOT_COVERED)


@app.command()
@plain_errors()
def clipped(
    folder: Folder,
    data: Data,
    checkpoint: Checkpoint = "",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw it by layer and token as well.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Say what static grids clip: in which layers and channels, in which tokens, and whether those words go wrong."""
    from stablequant.files import write_text
    from stablequant.jobs.clipped import clipped as run
    from stablequant.report.clipped import clipped as told
    from stablequant.report.clipped import drawn

    result = run(folder, data, checkpoint=checkpoint, progress=ProgressLine())
    if plot is not None:
        write_text(plot, drawn(result))
    print_json(result) if json else show(told(result))
