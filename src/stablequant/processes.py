"""Processes that work for this one: fresh interpreters that call functions, hand back what these yield, and end with it.

Nothing is forked. A copy of a process whose libraries have started threads (PyTorch's OpenMP does) has none of these
threads, and waits for them for ever. Nor is the caller's script run again, as multiprocessing's "spawn" would: it needs
no ``if __name__ == "__main__"``.

What goes to and fro is pickled, over a pair of sockets that no other process can open. The child reads its end all the
time; the end of that stream is the end of this process, however it came about, so that no child outlives it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, Self

from stablequant.errors import ResourceError

#: Seconds that a child whose parent is gone may take to tidy up.
GRACE = 5.0

#: What a child begins with. Not by -m: that would look for modules in the working folder, among the user's files, first.
_CODE = "import sys; sys.path[:] = {path!r}; from stablequant.processes import _serve; _serve({socket})"


class Process:
    """A fresh interpreter that calls one function after the other.

    It looks for modules where this one does and prints nothing: its output is kept for the message on its death.

    Attributes:
        connection: Its messages come in here.
        end: Kills it and waits until it is gone; may be called again.
    """

    def __init__(self, *, inherit: Sequence[int] = (), environment: Mapping[str, str] | None = None) -> None:
        """Start it.

        Args:
            inherit: File descriptors that it has under the same numbers.
            environment: Variables besides those of this process.

        Raises:
            ResourceError: The operating system starts no further process.
        """
        try:
            self._output = tempfile.TemporaryFile()
            self.connection, theirs = Pipe()
            with theirs:
                self._popen = subprocess.Popen(
                    [sys.executable, "-c", _CODE.format(path=sys.path, socket=theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=self._output,
                    pass_fds=(theirs.fileno(), *inherit),
                    env={**os.environ, **(environment or {})},
                )
        except OSError as error:
            what = f"a further process cannot be started ({error.strerror or error})"
            raise ResourceError(
                what, fix="end other processes, or raise the limits of processes and open files"
            ) from error
        # Also when this object is lost or this process leaves in the ordinary way.
        self.end = weakref.finalize(self, _end, self._popen, self.connection)

    def __enter__(self) -> Self:
        """Use it for a while."""
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.end()

    def start(self, function: Callable[..., Iterable[Any]], *arguments: Any) -> None:
        """Let it call ``function``, which a module defines, and iterate over the result.

        Args:
            function: Of a module; the process imports that.
            arguments: Pickled. Tensors are copied; `stablequant.search.handover` shares them.
        """
        message = pickle.dumps((function, arguments))
        # A process that has died takes nothing; `receive` tells.
        with contextlib.suppress(OSError):
            self.connection.send_bytes(message)

    def receive(self) -> tuple[str, Any]:
        """Wait for what comes next of the function that was started.

        Returns:
            ``("piece", what it yielded)``, ``("done", None)``, ``("error", the exception it raised)``, or
            ``("died", a sentence part that says how)``; after that, the process is of no more use.
        """
        try:
            message: tuple[str, Any] = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return "died", self._how_it_died()
        return message

    def _how_it_died(self) -> str:
        """Exit code, and the last line that it wrote."""
        code = self._popen.wait()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"exit code {code}" + (f": {last}" if last else "")


def ready(processes: Iterable[Process]) -> list[Process]:
    """Those from which there is something to receive; waits until there is one."""
    by_connection = {process.connection: process for process in processes}
    return [by_connection[connection] for connection in wait(list(by_connection))]  # type: ignore[index]


def _end(popen: subprocess.Popen[bytes], connection: Connection) -> None:
    """Kill the process, and wait until it is gone."""
    connection.close()
    popen.kill()
    popen.wait()


def _serve(socket: int) -> None:
    """In the child: call one function after the other until the parent is gone."""
    # The parent answers Ctrl-C and a closed terminal, and ends this process. SIGTERM tidies up, as Ctrl-C elsewhere.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    connection, calls = Connection(socket), SimpleQueue[bytes]()
    threading.Thread(target=_read, args=(connection, calls), daemon=True).start()
    try:
        while True:
            _call(connection, calls.get())
    except (KeyboardInterrupt, OSError):  # OSError: the parent is gone while it was being sent something
        os._exit(1)


def _read(connection: Connection, calls: SimpleQueue[bytes]) -> None:
    """In the child, beside its work: take what comes; at the end of the stream, end the process."""
    try:
        while True:
            calls.put(connection.recv_bytes())
    except (EOFError, OSError):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)


def _call(connection: Connection, call: bytes) -> None:
    """In the child: one function, and all that it yields or raises."""
    try:
        function, arguments = pickle.loads(call)
        for piece in function(*arguments):
            connection.send_bytes(pickle.dumps(("piece", piece)))
    except Exception as error:
        connection.send_bytes(_pickled(error))
    else:
        connection.send_bytes(pickle.dumps(("done", None)))


def _pickled(error: Exception) -> bytes:
    """The error as a message; in its own words alone if it does not survive the way."""
    try:
        message = pickle.dumps(("error", error))
        pickle.loads(message)
    except Exception:
        message = pickle.dumps(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    return message
