"""What the scripts here are given: models by folder, speech by --data, settings by --set; run them from the repository's root."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from result_path import ROOT  # noqa: E402

from stablequant.data import manifest  # noqa: E402
from stablequant.data.speech import Speech  # noqa: E402
from stablequant.data.splits import make_splits  # noqa: E402
from stablequant.families.frontend import Frontend  # noqa: E402
from stablequant.jobs.speech import decode  # noqa: E402
from stablequant.settings import Settings  # noqa: E402
from stablequant.tasks.task import task_of  # noqa: E402

WORK = ROOT / "build" / "bench"
MOONSHINE, GRAFT = "examples/moonshine-tiny", "tests/assets/wavlm-graft"
DATA = ["examples/asterisk"]
#: What `make demo` leaves.
RUN = Path("demo-out")


def arguments_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser that shows a script's docstring as it stands."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the argument ``model``."""
    parser.add_argument("model", nargs="?", default=MOONSHINE, help=f"folder of a checkpoint; default: {MOONSHINE}")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments ``run`` and ``--checkpoint``."""
    text = f"folder that stablequant quantize wrote; default: {RUN}, of make demo"
    parser.add_argument("run", type=Path, nargs="?", default=RUN, help=text)
    parser.add_argument("--checkpoint", default="", help="where the float checkpoint is now")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--data`` and ``--without``."""
    text = f"labelled speech, as for stablequant quantize; may be repeated; default: {DATA[0]}"
    parser.add_argument("--data", action="append", metavar="SOURCE", help=text)
    text = "leave a recording out, such as one that is in two splits; may be repeated"
    parser.add_argument("--without", action="append", default=[], metavar="ID", help=text)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--set``."""
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")


def sources(arguments: argparse.Namespace) -> list[str]:
    """The sources given with --data; folders with a manifest as a copy of it where recordings are left out."""
    data: Sequence[str] = arguments.data or DATA
    return [_without(Path(source), arguments.without) for source in data] if arguments.without else list(data)


def _without(folder: Path, ids: Sequence[str]) -> str:
    rows = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
    kept = [{**row, "audio": str((folder / row["audio"]).resolve())} for row in rows if row["id"] not in ids]
    path = WORK / "manifests" / f"{folder.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    return str(path)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings given with --set."""
    return Settings.parse(dict(pair.split("=", 1) for pair in arguments.settings))


def test_speech(
    frontend: Frontend, data: Sequence[str], settings: Settings | None = None, count: int | None = None
) -> Speech:
    """The test speech of ``data``, at most ``count`` recordings."""
    chosen = settings or Settings()
    test = make_splits(manifest.load(data), chosen.data.seed).test[:count]
    return decode(frontend, task_of(chosen.data), {"test": test}, chosen)["test"]
