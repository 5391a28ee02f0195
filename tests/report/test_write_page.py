"""`stablequant report`: the page again from a folder, with what evaluate, clipped and drift found about the run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import SPEECH, rows, write_manifest

from stablequant.export.run_folder import require_whole
from stablequant.report.formats import interval, signed


@pytest.fixture(scope="module")
def run(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder, to be changed."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("run") / "out"))


def printed(cli: Any, path: Path, *args: object) -> dict[str, Any]:
    ran = cli(*args, "--json")
    assert ran.code in (0, 3), ran.err
    path.write_text(ran.out)
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_the_page_shows_what_other_commands_found(cli, run, tmp_path):
    data = write_manifest(tmp_path / "m.jsonl", rows("test", 3))
    files = [tmp_path / f"{name}.json" for name in ("evaluate", "clipped", "drift")]
    asked = ("--data", data, "--split", "all", "--conditions", "noise:5,silence")
    evaluated = printed(cli, files[0], "evaluate", run, *asked)
    clipped = printed(cli, files[1], "clipped", run, "--data", data)
    drift = printed(cli, files[2], "drift", run, "--data", data)
    before = (run / "report.html").read_text()
    assert 'id="drift"' not in before
    ran = cli("report", run, *(part for file in files for part in ("--with", file)), "--json")
    assert ran.code == 0, ran.err
    require_whole(run, [])
    page = (run / "report.html").read_text()
    assert json.loads(ran.out)["bytes"] == len(page.encode())
    sections = re.findall('<section id="(.*?)"', page)
    assert sections == [
        *re.findall('<section id="(.*?)"', before)[:6],
        "conditions",
        "buckets",
        "clipped",
        "drift",
        *sections[-3:],
    ]
    noisy = evaluated["conditions"][0]["int8"]
    cells = (
        f"{noisy['float_rate']:.2f}",
        f"{noisy['rate']:.2f}",
        signed(noisy["delta"]),
        interval(noisy["delta_interval"]),
    )
    assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    assert re.search(f'<h2>What static grids clip</h2>\\s*<p class="verdict">{clipped["verdict"].capitalize()}', page)
    assert ("Not covered: " if not drift["covered"] else "Covered: ") in page


def test_the_page_from_the_folder_is_the_page_of_the_run(cli, run, finished, tmp_path):
    ran = cli("report", run, "--out", tmp_path / "again.html")
    assert (ran.code, ran.out.strip()) == (0, str(tmp_path / "again.html"))
    pages = [(tmp_path / "again.html").read_text(), (finished / "report.html").read_text()]
    # A recording is decoded once more, and an encoder's bytes may differ with that.
    assert len({re.sub(r'src="data:[^"]*"', "", page) for page in pages}) == 1
    assert str(SPEECH) not in pages[0]


def test_a_recording_or_histograms_that_are_gone_are_told(cli, run, tmp_path):
    (run / "activations.npz").unlink(missing_ok=True)
    summary = json.loads((run / "summary.json").read_text())
    gone = {
        "id": "gone",
        "audio": "/nowhere/gone.wav",
        "text": "a b",
        "float": "a b",
        "int8": "a c",
        "float_errors": 0.0,
    }
    summary["regressions"] = [gone | {"int8_errors": 1.0}]
    (run / "summary.json").write_text(json.dumps(summary))
    ran = cli("report", run, "--out", tmp_path / "again.html")
    assert ran.code == 0, ran.err
    page = (tmp_path / "again.html").read_text()
    assert "Not to be heard here: the recording is not at hand." in page
    assert 'a <del><span class="aloud">left out: </span>b<span class="aloud">;</span></del>' in page
    assert 'id="ranges"' not in page


def test_a_file_that_is_no_result_is_refused(cli, run, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    ran = cli("report", run, "--with", tmp_path / "x.json")
    assert (ran.code, "is of no known form" in ran.err) == (2, True)
