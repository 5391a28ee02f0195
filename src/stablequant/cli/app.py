"""The application that the commands belong to, and the options of them all."""

from __future__ import annotations

from typing import Annotated

import typer

from stablequant import __version__
from stablequant.cli.console import show

app = typer.Typer(
    help="Make speech models small and fast in int8 without making them worse, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        show(f"stablequant {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""
