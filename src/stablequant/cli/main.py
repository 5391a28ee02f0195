"""The entry point: stablequant inspect | finetune | quantize | export | evaluate | transcribe | benchmark | drift | report ..."""

from __future__ import annotations

import os
import signal
import sys

from stablequant.cli import judging, making, showing, training, using
from stablequant.cli.app import app
from stablequant.cli.console import ENDINGS, ask_again, plain_errors, plain_streams

__all__ = ["judging", "making", "showing", "training", "using"]


def main() -> None:
    """Entry point."""
    # transformers' own progress bars and notes would mix with ours.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Threads that spin while they wait for one another cost up to eight times the time on a machine with other work to
    # do, and gain nothing on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # A batch system that ends a run and a terminal that is closed get what Ctrl-C gets: one message, and nothing lost.
    for ending in ENDINGS:
        if signal.getsignal(ending) != signal.SIG_IGN:  # as under nohup
            signal.signal(ending, signal.default_int_handler)
    sys.unraisablehook = ask_again
    plain_streams()
    with plain_errors():  # --help is written outside of every command
        app()


if __name__ == "__main__":
    main()
