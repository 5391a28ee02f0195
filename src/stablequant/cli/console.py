"""What the commands share: progress, JSON on stdout and the rest on stderr, errors as sentences."""

from __future__ import annotations

import _thread
import errno
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from stablequant.errors import Interrupted, ResourceError, StablequantError, memory_ran_out

#: What a shell reports of a program that SIGPIPE ended, as it ends cat or grep: 128 and the signal's number.
READER_GONE = 128 + 13
#: A user's, a batch system's, and a closed terminal's way to end a program.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
        terminal = _on_terminal()
        finished = done >= total
        if not finished and now - self._printed < (0.2 if terminal else 10.0):
            return
        self._printed = now
        text = f"{title}  {100 * done // max(1, total)} %"
        if self._at_start < done < total:
            text += f"  {_clock((now - self._began) / (done - self._at_start) * (total - done))} left"
        elif finished:
            text += f"  {_clock(now - self._began)}"
        say(f"\r\x1b[2K{text}" + ("\n" if finished else "") if terminal else text, end="" if terminal else "\n")

    def clear(self) -> None:
        """Make room for another line; on a terminal progress is shown again below it."""
        if _on_terminal():
            say("\r\x1b[2K", end="")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain_streams() -> None:
    r"""Write what an encoding lacks, or no encoding has, as ``\u20ac`` or ``\udc80``: half a file name, a terminal in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(text: str) -> None:
    """Write a command's result to stdout.

    Raises:
        ResourceError: It cannot be written: the disk behind it is full, or it is closed.
        SystemExit: Its reader has gone, as ``head`` does: nothing went wrong, and nobody is left to tell.
    """
    try:
        # Flushed here: what fails at the interpreter's end fails without a word of ours.
        print(text, flush=True)
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
    except BrokenPipeError as error:
        _drop_stdout()
        raise SystemExit(READER_GONE) from error
    except (OSError, ValueError) as error:
        _drop_stdout()
        what = f"the result cannot be written to stdout ({getattr(error, 'strerror', None) or error})"
        raise ResourceError(what, fix="check where the output goes, and run the same command again") from error


def print_json(value: Any) -> None:
    """One JSON object on stdout, as `show` writes; half a file name as JSON's own escape."""
    whole = (getattr(sys.stdout, "encoding", None) or "").lower() in ("utf-8", "utf8")
    show(json.dumps(value, ensure_ascii=not whole, indent=1))


def say(text: str, end: str = "\n") -> None:
    """Write a remark to stderr; a terminal that was closed takes none, which stops nothing."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(text + end)
            sys.stderr.flush()


@contextmanager
def unbroken() -> Iterator[None]:
    """Let the block come to its end before an interrupt takes effect, so that nothing is half written; a second does not wait."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt

    held = [n for n in ENDINGS if signal.getsignal(n) is signal.default_int_handler]
    for number in held:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


def ask_again(ignored: sys.UnraisableHookArgs) -> None:
    """Interrupt once more where a destructor swallowed it, as Python does; for ``sys.unraisablehook``."""
    number = next((n for n in ENDINGS if signal.getsignal(n) is signal.default_int_handler), None)
    if ignored.exc_type is not KeyboardInterrupt or number is None:
        sys.__unraisablehook__(ignored)
        return
    again = threading.Timer(0.05, _thread.interrupt_main, (number,))
    again.daemon = True
    again.start()


def _on_terminal() -> bool:
    with suppress(OSError, ValueError):
        return sys.stderr is not None and sys.stderr.isatty()
    return False


def _drop_stdout() -> None:
    """Send what is left in stdout's buffer nowhere, or the interpreter would complain of it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
            if isinstance(error, OSError):
                _give_up(_refused(error))
            raise
        # In a C++ library's message only the first line is for people.
        what = f"memory ran out ({str(error).strip().splitlines()[0]})" if str(error) else "memory ran out"
        fix = f"use smaller batches (--set batch_size=1) or shorter recordings, then {again}"
        _give_up(ResourceError(what, fix=fix))


def _refused(error: OSError) -> ResourceError:
    """What the operating system refused, where no room has said what it means: a file that went away, a closed terminal."""
    if error.errno == errno.EPIPE:
        _drop_stdout()
    name = "an input or output of the command" if error.filename is None else str(error.filename)
    what = f"{name} cannot be used ({error.strerror or error})"
    return ResourceError(what, fix="check the path and its permissions, and where the output goes")


def _give_up(error: StablequantError) -> NoReturn:
    # A name out of a file may hold what moves a terminal's cursor, or colours it.
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))
    say("\n" * _on_terminal() + f"error: {text}")  # a progress line may stand there unfinished
    raise SystemExit(error.exit_code) from error
