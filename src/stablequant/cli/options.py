"""Options that several commands share."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Argument(help="A folder in Hugging Face form, or a hub id.", show_default=False)]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        help="Speech: LibriSpeech or Common Voice folder, JSONL or TSV manifest, folder of recordings (no text), or "
        "hf:name[:config]:split. "
        "May be repeated.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting of docs/settings.md, such as p_step=0.05."),
]
Language = Annotated[
    str,
    typer.Option(
        help="Of the speech, an ISO 639 code; default: told from the transcripts, or by the model.", show_default=False
    ),
]
Task = Annotated[
    str,
    typer.Option(help="transcribe, or translate into English, where the model can.", show_default=False),
]
Wait = Annotated[bool, typer.Option("--wait", help="If another run holds the folder, wait for it.")]
Bits = Annotated[
    str | None,
    typer.Option(
        help="Widths of weights and activations; default: w8a8.",
        metavar="w8a8|w6a6|w5a8|w4a8|w4a4|w4a16",
        show_default=False,
    ),
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


#: Far above what makes sense, and low enough that no number makes the program allocate without end.
MOST_WORKERS = MOST_THREADS = 1_024
MOST_ROUNDS = 10_000
MOST_BATCH = 10_000
MOST_SECONDS = 86_400


def number(option: str, text: str, kind: type[Any], most: int) -> Any:
    """One of an option's numbers; a SettingsError if it is none, not above 0, or above ``most``."""
    from stablequant.errors import SettingsError

    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value <= most:
        what = f"--{option} {text[:100]}"
        numbers = "whole numbers" if kind is int else "numbers"
        raise SettingsError(what, expected=f"{numbers} above 0 and at most {most:,}, split by commas")
    return value


def spoken(language: str, task: str) -> dict[str, Any]:
    """The settings that --language and --task stand for, as far as they were given; a SettingsError if there is no such task."""
    from stablequant.errors import SettingsError

    if task not in ("", "transcribe", "translate"):
        what = f"--task {task[:100]}"
        raise SettingsError(what, expected="transcribe or translate")
    return ({"language": language} if language else {}) | ({"translate": task == "translate"} if task else {})


def pairs(settings: list[str]) -> dict[str, str]:
    """The settings given with --set, by name; a SettingsError if one is no NAME=VALUE."""
    from stablequant.errors import SettingsError

    values = {}
    for pair in settings:
        name, found, value = pair.partition("=")
        if not found:
            what = f"--set {pair[:100]}"
            raise SettingsError(what, expected="NAME=VALUE", fix="for example --set p_step=0.05")
        values[name] = value
    return values


def pool_of(executor: str, workers: int, address: str) -> Any:
    """The workers that were asked for; a SettingsError if there are none of the kind."""
    from stablequant.errors import SettingsError

    if executor == "local":
        from stablequant.search.pools import LocalPool

        return LocalPool(workers)
    if executor == "ray":
        from stablequant.search.ray_pool import RayPool

        return RayPool(address)
    what = f"--executor {executor}"
    raise SettingsError(what, expected="local or ray")


def command_line() -> str:
    """The command line of this process, for the record."""
    return shlex.join(["stablequant", *(a for a in sys.argv[1:] if a != "--json")])
