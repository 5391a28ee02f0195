"""Commands that show what runs found: report, compare, track, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stablequant.cli.app import app
from stablequant.cli.console import plain_errors, print_json, show
from stablequant.cli.options import Json, Wait

Folder = Annotated[Path, typer.Argument(help="A folder that quantize wrote.", show_default=False)]


@app.command()
@plain_errors()
def report(
    folder: Folder,
    given: Annotated[
        list[Path],
        typer.Option(
            "--with",
            metavar="FILE.json",
            help="What --json of evaluate (--conditions), drift or clipped printed; shown as well. May be repeated.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Default: report.html in the folder.", show_default=False),
    ] = None,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Write a run's page again, with what other commands found out about it."""
    from stablequant.report.write import write_page

    written = write_page(folder, given, out, wait=wait)
    print_json({"folder": str(folder), "report": str(written), "bytes": written.stat().st_size}) if json else show(
        str(written)
    )


@app.command()
@plain_errors()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more folders that quantize wrote.", show_default=False)],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write it as a page as well.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show runs side by side: plans by layer, error rates with the interval of their difference, speed, bytes."""
    from stablequant.files import write_text
    from stablequant.report.compare import compare as run
    from stablequant.report.compare import compared, page

    result = run(folders)
    if html is not None:
        write_text(html, page(result))
    print_json(result) if json else show(compared(result))


@app.command()
@plain_errors()
def track(
    folder: Folder,
    to: Annotated[
        str,
        typer.Option(help="mlflow, or mlflow:URI of a tracking server or store.", show_default=False),
    ],
    json: Json = False,
) -> None:
    """Log a finished run to an experiment tracker: settings, every number of its summary, its page and plan."""
    from stablequant.report.track import track as run

    found = run(folder, to)
    told = (
        f"{found['experiment']}/{found['run']}: {len(found['parameters'])} parameters, {len(found['metrics'])} metrics"
    )
    print_json(found) if json else show(f"{told}, {', '.join(found['files'])}")


@app.command()
@plain_errors()
def schema(
    name: Annotated[str, typer.Argument(help="Of an output; default: list them.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Print the JSON schema of what the program writes: the files of a run, and --json of every command."""
    from stablequant.report.schema import schema as found
    from stablequant.report.schema import schemas
    from stablequant.report.tables import table

    if name:
        print_json(found(name))
    elif json:
        print_json(schemas())
    else:
        show(table(["schema", ""], [[row["name"], row["about"]] for row in schemas()["schemas"]]))
