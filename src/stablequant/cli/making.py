"""Commands that make a quantised model: inspect, recipes, quantize, trials, export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from stablequant.cli.app import app
from stablequant.cli.console import ProgressLine, plain_errors, print_json, say, show
from stablequant.cli.options import (
    MOST_WORKERS,
    Bits,
    Checkpoint,
    Data,
    Json,
    Language,
    Model,
    Set,
    Task,
    Wait,
    command_line,
    pairs,
    pool_of,
    spoken,
)


@app.command()
@plain_errors()
def inspect(model: Model, language: Language = "", json: Json = False) -> None:
    """Show a model's family, operations and bytes, and what would be quantised, what not, and why."""
    from stablequant.jobs.inspect import inspect as look
    from stablequant.report.tables import inspection

    found = look(model, language or None)
    print_json(found) if json else show(inspection(found))


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
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A bundle of settings; `stablequant recipes` lists them. Default: paper if settings of its stages are given.",
            metavar="default|paper|fast",
            show_default=False,
        ),
    ] = None,
    bits: Bits = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Bits of weights, or bits and how many of a linear layer share a scale.",
            metavar="8|4g32",
            show_default=False,
        ),
    ] = None,
    activations: Annotated[
        str | None, typer.Option(help="Bits of activations; 16: left in float.", metavar="8|16", show_default=False)
    ] = None,
    target_bytes: Annotated[
        float | None,
        typer.Option(
            help="Share of float32's bytes that weights may take; each layer gets the width that costs least in divergence.",
            show_default=False,
        ),
    ] = None,
    max_divergence: Annotated[
        float | None,
        typer.Option(
            help="Nats a step by which the model may diverge from float; each layer gets the width of fewest bytes.",
            show_default=False,
        ),
    ] = None,
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
    objective: Annotated[
        str | None,
        typer.Option(
            help="What trials are judged by: task (its error rate), or divergence (from float; no labels needed).",
            show_default=False,
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            help="What a choice of schemes knows of time: measured (kernels of this machine), or model.",
            show_default=False,
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="If the plan costs more points, leave layers in float until it does not.", show_default=False
        ),
    ] = None,
    language: Language = "",
    task: Task = "",
    wait: Wait = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although the model does not work in float on the dev speech.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_WORKERS, help="Processes that share the trials, one thread each; memory grows with them."
        ),
    ] = 1,
    executor: Annotated[
        str, typer.Option(help="Where trials run: local, or ray (see docs/search.md).", metavar="local|ray")
    ] = "local",
    address: Annotated[str, typer.Option(help="Of the Ray cluster; empty: one on this machine.")] = "",
    settings: Set = [],  # noqa: B006 - typer reads the default, nobody changes it
    json: Json = False,
) -> None:
    """Observe, search, export to int8, verify, and report error rates before and after on held-out speech.

    Of speech without text, reported are words unlike the float model's; --recipe paper needs --objective divergence there.
    """
    from stablequant.jobs.quantize import quantize as run
    from stablequant.recipes import recipe_for
    from stablequant.report.results import read_summary
    from stablequant.report.tables import methods
    from stablequant.report.write import write_reports
    from stablequant.runtime.registry import advice
    from stablequant.settings import Settings

    options = {"gamma": gamma, "p_step": p_step, "p_max": p_max, "p_spacing": p_spacing, "max_drop": max_drop}
    widths: dict[str, Any] = {"bits": bits, "weights": weights, "activations": activations}
    widths |= {"target_bytes": target_bytes, "max_divergence": max_divergence}
    given = {
        name: value
        for name, value in {**options, "strategy": search, "objective": objective, "cost": cost, **widths}.items()
        if value is not None
    }
    given = {**given, **spoken(language, task), **pairs(settings)}
    chosen = Settings.parse({**recipe_for(given, recipe).settings, **given})
    if dry_run:
        from stablequant.jobs.estimate import estimate
        from stablequant.report.tables import dry_run as told

        expected = estimate(model, data, chosen, workers=workers, progress=ProgressLine())
        print_json(dataclasses.asdict(expected)) if json else show(told(expected, chosen))
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
    print_json(summary) if json else show(methods(summary))
    if faster := advice(out, evidence.model.frontend.head.graphs):
        say(faster)


@app.command()
@plain_errors()
def recipes(json: Json = False) -> None:
    """List the recipes: bundles of settings for quantize."""
    from stablequant.recipes import RECIPES
    from stablequant.report.tables import recipes as listed

    rows = [{"name": r.name, "settings": dict(r.settings), "about": r.about} for r in RECIPES.values()]
    print_json({"recipes": rows}) if json else show(listed(rows))


@app.command()
@plain_errors()
def trials(
    folder: Annotated[Path, typer.Argument(help="A folder that quantize wrote, or is writing.", show_default=False)],
    json: Json = False,
) -> None:
    """Show the finished trials of a search, and the seconds that each took."""
    from stablequant.report.tables import trials as listed
    from stablequant.search.journal import finished

    rows = finished(folder / "trials.sqlite")
    print_json({"folder": str(folder), "trials": rows}) if json else show(listed(rows))


@app.command()
@plain_errors()
def export(
    folder: Annotated[Path, typer.Argument(help="A folder that quantize wrote.", show_default=False)],
    target: Annotated[str, typer.Option(help="onnxruntime, openvino or tensorrt.", show_default=False)] = "",
    layout: Annotated[
        str, typer.Option(help="Instead: the files as sherpa-onnx or onnx-asr reads them.", show_default=False)
    ] = "",
    checkpoint: Checkpoint = "",
    data: Annotated[
        list[str],
        typer.Option(help="Speech to check the files on; default: what quantize had.", show_default=False),
    ] = [],  # noqa: B006
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Write a folder's plan as int8 files for another runtime, checked against the simulation, or in another layout."""
    from stablequant.errors import SettingsError
    from stablequant.jobs.elsewhere import lay_out
    from stablequant.jobs.export import export as run
    from stablequant.report.tables import exported

    if bool(target) == bool(layout):
        what = "export needs --target or --layout, one of the two"
        raise SettingsError(what, expected="a runtime to write the plan for, or a program to arrange the files for")
    if layout:
        found = lay_out(folder, layout)
        print_json(found) if json else show("\n".join(found["files"]))
        return
    result = run(folder, target, checkpoint=checkpoint, sources=data, wait=wait)
    print_json(result) if json else show(exported(result))
