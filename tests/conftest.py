"""What several rooms' tests share: one real run of the whole job, small, done once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 (hooks)
from support import small_manifest

from stablequant.jobs.evidence import Evidence
from stablequant.jobs.quantize import quantize
from stablequant.settings import Settings

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "tests" / "assets" / "wavlm-graft"
COMMAND = "stablequant quantize tests/assets/wavlm-graft --data 'small <set>.jsonl' --out out"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernel times are measured for the tests, and the user's own are left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What a run on the small CTC model and 15 short recordings found out. Shared: leave it as it is."""
    folder = tmp_path_factory.mktemp("run")
    manifest = small_manifest(folder / "small <set>.jsonl")
    settings = Settings(p_step=0.25, calibration_utterances=5)
    return quantize(str(MODEL), [str(manifest)], folder / "out", settings, command=COMMAND)
