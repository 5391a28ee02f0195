"""What the commands share: progress, JSON on stdout and the rest on stderr, errors as sentences."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stablequant.errors import Interrupted, ResourceError, StablequantError


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
def plain_errors() -> Iterator[None]:
    """Turn the library's errors, an interrupt and a lack of memory into one message and an exit code."""
    try:
        try:
            yield
        except KeyboardInterrupt as error:
            what = "the run was interrupted"
            raise Interrupted(what, mend="run the same command again: it goes on where it was") from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            what = f"memory ran out ({error})"
            mend = (
                "use smaller batches (--set batch_seconds=40), then run the same command again: it goes on where it was"
            )
            raise ResourceError(what, mend=mend) from error
    except StablequantError as error:
        sys.stderr.write(f"\nerror: {error}\n")
        raise SystemExit(error.exit_code) from error
