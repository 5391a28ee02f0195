"""The model card of a real run."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stablequant.jobs.evidence import Evidence
from stablequant.report.card import card, code, fence, licence, text
from stablequant.report.formats import interval, signed


@pytest.fixture(scope="module")
def written(evidence: Evidence, summary: dict[str, Any]) -> str:
    return card(evidence, summary)


def front(card_text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card_text, re.DOTALL)
    assert found
    loaded: dict[str, Any] = yaml.safe_load(found.group(1))
    return loaded


def test_front_matter_is_what_the_hub_reads(written: str, summary: dict[str, Any]) -> None:
    data = front(written)
    assert data["license"] == "mit"
    assert data["pipeline_tag"] == "automatic-speech-recognition"
    assert data["library_name"] == "onnx"
    # The checkpoint was a folder: a made-up hub id would name somebody else's model.
    assert "base_model" not in data
    (entry,) = data["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in entry["metrics"]} == {
        "wer": summary["int8_file"]["wer"],
        "cer": summary["int8_file"]["cer"],
    }


def test_a_hub_id_is_named_as_the_base(evidence: Evidence, summary: dict[str, Any]) -> None:
    model = evidence.plan.model.model_copy(update={"name": "someone/some-model: yes"})
    changed = dataclasses.replace(evidence, plan=evidence.plan.model_copy(update={"model": model}))
    data = front(card(changed, summary))
    assert data["base_model"] == "someone/some-model: yes"
    assert data["base_model_relation"] == "quantized"


def test_results_are_the_summarys(written: str, summary: dict[str, Any]) -> None:
    for name, r in [*summary["methods"].items(), ("int8 file", summary["int8_file"])]:
        numbers = f"{r['wer']:.2f} | {signed(r['delta'])} | {interval(r['delta_interval'])} | {r['cer']:.2f}"
        assert f"| {name} | {numbers} |" in written
    assert f"```sh\n{summary['command']}\n```" in written
    for name in summary["flagged"]:
        assert f"`{name}`" in written


def test_the_python_that_the_card_shows_runs(
    written: str,
    evidence: Evidence,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import soundfile

    recording = Path(__file__).parents[2] / "examples" / "asterisk" / "audio" / "is-set-to.flac"
    audio, rate = soundfile.read(recording, dtype="float32")
    soundfile.write(tmp_path / "file.wav", np.asarray(audio), rate)
    (tmp_path / "DIR").symlink_to(evidence.job.out)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", written, re.DOTALL)
    assert len(examples) == 2
    said = []
    for example in examples:
        exec(compile(example, "card", "exec"), {})
        said.append(capsys.readouterr().out.strip())
    assert said[0] == said[1] != ""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"README.md": "---\nlicense: cc-by-4.0\n---\n# x", "LICENSE": "MIT License"}, "cc-by-4.0"),
        ({"README.md": "# no front matter", "LICENSE": "MIT License\n\nCopyright"}, "mit"),
        ({"README.md": "---\n: [broken\n---\n", "LICENSE": "  Apache License\n  Version 2.0"}, "apache-2.0"),
        ({"LICENSE": "All rights reserved"}, None),
        ({}, None),
    ],
)
def test_licence_is_found_or_left_out(tmp_path: Path, files: dict[str, str], expected: str | None) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert licence(tmp_path) == expected


def test_markup_in_names_is_disarmed() -> None:
    assert code("a`b") == "``a`b``"
    assert code("a\n\nb|c") == "`a b\\|c`"
    assert text("<b>*x*</b> [y](z)") == r"\<b\>\*x\*\</b\> \[y\](z)"
    assert fence("```\nx").startswith("````\n```")
