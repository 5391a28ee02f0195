"""The command that trains a model: finetune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stablequant.cli.app import app
from stablequant.cli.console import ProgressLine, plain_errors, print_json, show
from stablequant.cli.options import Bits, Data, Json, Language, Model, Set, Task, Wait, pairs, spoken


@app.command()
@plain_errors(resumes=True)
def finetune(
    model: Model,
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoint; a stopped run there goes on.", show_default=False)
    ],
    bits: Bits = None,
    steps: Annotated[int, typer.Option(help="Of the optimiser, one a batch.")] = 200,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 2e-5,
    labels: Annotated[
        bool, typer.Option("--labels", help="Learn from the text instead of from the float model.")
    ] = False,
    language: Language = "",
    task: Task = "",
    wait: Wait = False,
    settings: Set = [],  # noqa: B006 - typer reads the default, nobody changes it
    json: Json = False,
) -> None:
    """Train a checkpoint's weights for few bits, by distillation from itself in float, and write them as a checkpoint.

    What comes out is a model as any other: stablequant quantize OUT --data ... --bits ...
    """
    from stablequant.jobs.finetune import SETTINGS
    from stablequant.jobs.finetune import finetune as run
    from stablequant.report.tables import finetuned
    from stablequant.settings import Settings
    from stablequant.training.train import Schedule

    given: dict[str, Any] = {} if bits is None else {"bits": bits}
    chosen = Settings.parse({**SETTINGS, **given, **spoken(language, task), **pairs(settings)})
    schedule = Schedule(steps, learning_rate, chosen.data.seed)
    report = run(model, data, out, chosen, schedule, labels=labels, wait=wait, progress=ProgressLine())
    print_json(report) if json else show(finetuned(report))
