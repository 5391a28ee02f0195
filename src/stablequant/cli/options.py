"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="A folder in Hugging Face form, or a hub id.", show_default=False)]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        help="Labelled speech: LibriSpeech folder, JSONL or TSV manifest, or hf:name[:config]:split. May be repeated.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting of docs/settings.md, such as p_step=0.05."),
]
Checkpoint = Annotated[
    str,
    typer.Option(help="Where the float checkpoint of the plan is now; default: where it was.", show_default=False),
]
Runtime = Annotated[
    str,
    typer.Option(
        help="onnxruntime, openvino, openvino-bf16 (bfloat16 between the int8 products), or torch (the plan in int8 on a GPU, "
        "from the float checkpoint); default: by the files, what is installed, and the processor.",
        show_default=False,
    ),
]
