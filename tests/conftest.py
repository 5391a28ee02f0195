"""What several rooms' tests share: one real run of the whole job, small, done once a session, and the command line."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from commands import Ran
from filelock import FileLock
from pydantic import TypeAdapter
from skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 (hooks)
from support import small_manifest

from stablequant.cli.judging import NOT_COVERED
from stablequant.cli.main import main
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.quantize import quantize
from stablequant.report.schema import OUTPUTS
from stablequant.report.write import write_reports
from stablequant.settings import Settings

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "tests" / "assets" / "wavlm-graft"
COMMAND = "stablequant quantize tests/assets/wavlm-graft --data 'small <set>.jsonl' --out out"


#: Files that take longest. They begin first, so that at the end no worker waits for another's last file.
LONGEST = (
    "cli/test_interrupt.py",
    "search/test_pools.py",
    "test_fuzz.py",
    "search/test_ray_pool.py",
    "search/test_racing.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files, not the tests in them."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernel times are measured for the tests, and the user's own are left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command line in this process; what C libraries write is captured as well."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["stablequant", *map(str, args)])
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back afterwards
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ran = Ran(int(left.value.code or 0), *capfd.readouterr())
        if "--json" in args and ran.code in (0, NOT_COVERED) and ran.out:
            in_form(args, ran.out)
        return ran

    return run


def in_form(args: Sequence[object], out: str) -> None:
    """Hold what a command printed with --json to its schema."""
    more = {"--dry-run": "-dry-run", "--layout": "-layout"}
    name = str(args[0]) + next((ending for option, ending in more.items() if option in args), "")
    if name in OUTPUTS and not (name == "schema" and len(args) > 2):
        TypeAdapter(OUTPUTS[name]).validate_json(out)


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What a run on the small CTC model and 15 short recordings found out. Shared: leave it as it is.

    Of pytest-xdist's workers the first that needs it makes it, and the others read it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "evidence"
    folder.mkdir(exist_ok=True)
    kept = folder / "evidence.pickle"
    with FileLock(folder / "lock"):
        if not kept.exists():
            manifest = small_manifest(folder / "small <set>.jsonl")
            settings = Settings(p_step=0.25, calibration_utterances=5)
            found = quantize(
                str(MODEL), [str(manifest)], folder / "out", settings, command=COMMAND, report=write_reports
            )
            kept.write_bytes(pickle.dumps(found))
        loaded: Evidence = pickle.loads(kept.read_bytes())
    return loaded


@pytest.fixture(scope="session")
def finished(evidence: Evidence) -> Path:
    """The folder that it wrote."""
    return evidence.job.out
