"""What several rooms' tests share: one real run of the whole job, small, done once a session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stablequant.config import Settings
from stablequant.pipeline import Evidence, quantize

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "tests" / "assets" / "wavlm-graft"
SPEECH = ROOT / "examples" / "asterisk"
COMMAND = "stablequant quantize tests/assets/wavlm-graft --data 'small <set>.jsonl' --out out"


def small_manifest(path: Path, count: int = 5) -> Path:
    """The shortest ``count`` recordings of each split, with absolute paths, as a manifest at ``path``."""
    rows = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    kept = []
    for split in ("train", "dev", "test"):
        kept += sorted((r for r in rows if r["split"] == split), key=lambda r: float(r["duration"]))[:count]
    lines = [json.dumps(row | {"audio": str(SPEECH / row["audio"])}) for row in kept]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What a run on the small CTC model and 15 short recordings found out. Shared: leave it as it is."""
    folder = tmp_path_factory.mktemp("run")
    manifest = small_manifest(folder / "small <set>.jsonl")
    settings = Settings(p_step=0.25, calibration_utterances=5)
    return quantize(str(MODEL), [str(manifest)], folder / "out", settings, command=COMMAND)
