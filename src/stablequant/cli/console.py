"""What the commands share: progress, JSON on stdout and the rest on stderr, errors as sentences."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from stablequant.errors import Interrupted, ResourceError, StablequantError, memory_ran_out


class ProgressLine:
    """One line on stderr: what is running, how far, and how long it will still take.

    On a terminal the line is rewritten; in a log a new one appears every ten seconds and at each change of title.
    """

    def __init__(self) -> None:
        """Start silent."""
        self._title = ""
        self._began = self._printed = 0.0
        self._at_start = 0

    def __call__(self, title: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of work on ``title`` are finished."""
        now = time.monotonic()
        if title != self._title:
            self._title, self._began, self._printed, self._at_start = title, now, 0.0, done
        terminal = sys.stderr.isatty()
        finished = done >= total
        if not finished and now - self._printed < (0.2 if terminal else 10.0):
            return
        self._printed = now
        text = f"{title}  {100 * done // max(1, total)} %"
        if self._at_start < done < total:
            text += f"  {_clock((now - self._began) / (done - self._at_start) * (total - done))} left"
        elif finished:
            text += f"  {_clock(now - self._began)}"
        sys.stderr.write(f"\r\x1b[2K{text}" + ("\n" if finished else "") if terminal else text + "\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def plain_errors(*, resumes: bool = False) -> Iterator[None]:
    """Turn the library's errors, an interrupt and a lack of memory into one message and an exit code.

    Decorates each command, inside of what typer wraps around it, which would turn an interrupt into a bare "Aborted".

    Args:
        resumes: The command keeps what it finished, and goes on there when it is run again.
    """
    again = "run the same command again" + (": it goes on where it was" if resumes else "")
    try:
        yield
    except StablequantError as error:
        _give_up(error)
    except KeyboardInterrupt:
        _give_up(Interrupted("the run was interrupted", fix=again))
    except Exception as error:
        if not memory_ran_out(error):
            raise
        # In a C++ library's message only the first line is for people.
        what = f"memory ran out ({str(error).strip().splitlines()[0]})" if str(error) else "memory ran out"
        fix = f"use smaller batches (--set batch_size=1) or shorter recordings, then {again}"
        _give_up(ResourceError(what, fix=fix))


def _give_up(error: StablequantError) -> NoReturn:
    with suppress(OSError):  # a terminal that was closed takes no message
        # A progress line may stand there unfinished.
        sys.stderr.write("\n" * sys.stderr.isatty() + f"error: {error}\n")
    raise SystemExit(error.exit_code) from error
