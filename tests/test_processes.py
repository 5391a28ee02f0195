"""Processes that work for another: what they hand back, how they end, and that none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stablequant.errors import ResourceError, VerificationError
from stablequant.processes import Process


def countdown(start: int) -> Iterator[int]:
    print("this is not for the user")
    yield from range(start, 0, -1)


def failing() -> Iterator[None]:
    yield None
    what = "the file differs"
    raise VerificationError(what, expected="the same", fix="look")


class Odd(Exception):
    """Cannot be made anew from its arguments, so it cannot be pickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def failing_oddly() -> Iterator[None]:
    raise Odd(1, 2)
    yield


def dying(last_words: str) -> Iterator[None]:
    print(last_words, file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    yield


def sleeping(folder: Path) -> Iterator[int]:
    (folder / "started").write_text(str(os.getpid()))
    try:
        while True:
            time.sleep(0.1)
    finally:
        (folder / "tidied").touch()
    yield 0


def until(found: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found():
            return True
        time.sleep(0.05)
    return False


def alive(process: int) -> bool:
    """Whether it runs; one that is dead and waits to be collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_pieces_come_one_by_one_and_the_process_serves_again(capfd: pytest.CaptureFixture[str]) -> None:
    with Process() as process:
        for start in (2, 1):
            process.start(countdown, start)
            for expected in range(start, 0, -1):
                assert process.receive() == ("piece", expected)
            assert process.receive() == ("done", None)
    assert capfd.readouterr() == ("", "")


def test_an_error_comes_back_as_itself_and_the_process_serves_again() -> None:
    with Process() as process:
        process.start(failing)
        assert process.receive() == ("piece", None)
        kind, error = process.receive()
        assert kind == "error"
        assert type(error) is VerificationError
        assert str(error) == "the file differs. Expected the same. Fix: look."
        assert error.exit_code == 3
        process.start(failing_oddly)
        kind, error = process.receive()
        assert kind == "error"
        assert str(error) == "Odd: 1 and 2"
        process.start(countdown, 1)
        assert process.receive() == ("piece", 1)


def test_a_death_is_told_with_exit_code_and_last_words() -> None:
    with Process() as process:
        process.start(dying, "no more memory")
        assert process.receive() == ("died", "exit code -9: no more memory")
        process.start(countdown, 1)
        assert process.receive()[0] == "died"


def test_modules_of_the_working_folder_are_not_taken_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pickle", "signal", "threading"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of the user')")
    monkeypatch.chdir(tmp_path)
    with Process() as process:
        process.start(countdown, 1)
        assert process.receive() == ("piece", 1)


def test_no_process_to_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ResourceError, match=r"cannot be started \(No such file or directory\)"):
        Process()


@pytest.mark.parametrize("how", ["end", "lost"])
def test_it_ends_with_its_object(how: str, tmp_path: Path) -> None:
    process = Process()
    process.start(sleeping, tmp_path)
    assert until((tmp_path / "started").exists)
    number = process._popen.pid
    if how == "end":
        process.end()
    del process
    assert not alive(number)


#: Lets a process sleep, and waits for it.
PARENT = """
import sys, pathlib
from test_processes import sleeping
from stablequant.processes import Process
process = Process()
process.start(sleeping, pathlib.Path(sys.argv[1]))
process.receive()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_tidies_up_and_ends_when_its_parent_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], env=os.environ | {"PYTHONPATH": paths})
    assert until(lambda: (tmp_path / "started").exists() and (tmp_path / "started").read_text() != "")
    child = int((tmp_path / "started").read_text())
    assert alive(child)
    parent.send_signal(number)
    parent.wait()
    assert until(lambda: not alive(child))
    assert (tmp_path / "tidied").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_a_terminal_sends_to_all_is_left_to_the_parent(number: signal.Signals, tmp_path: Path) -> None:
    with Process() as process:
        process.start(countdown, 1)
        assert process.receive() == ("piece", 1)
        assert process.receive() == ("done", None)
        os.kill(process._popen.pid, number)
        process.start(countdown, 1)
        assert process.receive() == ("piece", 1)
