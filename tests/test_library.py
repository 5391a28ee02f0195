"""The front door: every name is there and explained, the usual order of work runs on real speech, and anyone can add a part."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support

import stablequant as sq
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, ExportError, SettingsError
from stablequant.export.targets import TARGETS
from stablequant.families.family import FAMILIES
from stablequant.families.wav2vec2 import Wav2Vec2
from stablequant.grid.affine import Range
from stablequant.grid.calibrators import CALIBRATORS
from stablequant.grid.histogram import Histogram
from stablequant.heads.head import Answer, Head
from stablequant.library.search import Stage1
from stablequant.library.speech import SpeechSplits
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.settings import DataSettings
from stablequant.tasks.score import Score
from stablequant.tasks.task import TASKS


def apart(code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh process, in which nothing of stablequant has been imported."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(support.ROOT / 'src')!r}); {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sq.__all__)
def test_every_public_name_can_be_imported_and_is_explained(name: str) -> None:
    found = getattr(sq, name)
    explained = inspect.getdoc(found)
    assert explained
    assert name in dir(sq)
    # Not the docstring that a dataclass writes itself.
    assert not explained.startswith(f"{name}(")


def test_the_list_of_public_names_is_the_table_of_where_they_come_from() -> None:
    assert sorted(sq._PUBLIC) == sq.__all__
    with pytest.raises(AttributeError, match="module 'stablequant' has no attribute 'quantise'"):
        _ = sq.quantise


def test_importing_the_package_alone_imports_nothing_else() -> None:
    ran = apart("import stablequant; print(*sys.modules)")
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert loaded.isdisjoint(("torch", "transformers", "onnx", "numpy", "pydantic"))
    assert [name for name in loaded if name.startswith("stablequant")] == ["stablequant"]


@pytest.mark.parametrize("first", ["function", "subpackage"])
def test_a_function_that_is_called_as_a_subpackage_stays_a_function(first: str) -> None:
    names = ("observe", "export", "quantize")
    functions = ["import stablequant as sq", *(f"assert callable(sq.{name}), sq.{name}" for name in names)]
    subpackages = [f"import stablequant.{name}; from stablequant.{name} import __path__" for name in names]
    order = functions + subpackages if first == "function" else subpackages + functions
    own = [f"assert sq.{name}.__module__.startswith('stablequant.library.'), sq.{name}" for name in names]
    ran = apart("; ".join([*order, *functions, *own]))
    assert ran.returncode == 0, ran.stderr


# -- the usual order of work -------------------------------------------------------------------------------------------

#: Coarse steps of p, and all layers by a grid of 6 bits in the search, so that some cost something.
SETTINGS: dict[str, Any] = {"allowance": 0.3, "calibration_utterances": 3}


@cache
def manifest(folder: Path) -> str:
    return str(support.small_manifest(folder / "speech.jsonl", 4))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> SpeechSplits:
    return sq.read_speech([manifest(tmp_path_factory.mktemp("speech"))], support.graft(), **SETTINGS)


@pytest.fixture(scope="module")
def statistics(speech: SpeechSplits) -> Histograms:
    return sq.observe(support.graft(), speech.calibration)


@pytest.fixture(scope="module")
def run(speech: SpeechSplits, tmp_path_factory: pytest.TempPathFactory) -> sq.Run:
    return sq.quantize(support.graft(), speech, tmp_path_factory.mktemp("run") / "out")


def test_speech_is_read_in_three_disjoint_parts(speech: SpeechSplits) -> None:
    parts = [speech.calibration, speech.dev, speech.test]
    assert [len(part.utterances) for part in parts] == [3, 4, 4]
    assert len({u.id for part in parts for u in part.utterances}) == 11
    # English by its words; what was decided is kept.
    assert speech.settings == sq.Settings(**SETTINGS, normalizer="english")
    with pytest.raises(SettingsError, match=r"there is no setting batch_sise \(did you mean batch_size\?\)"):
        sq.read_speech(speech.sources, support.graft(), batch_sise=4)


def test_the_first_few_of_each_part_are_for_a_quick_look(speech: SpeechSplits) -> None:
    few = speech.first(2)
    for part, whole in ((few.calibration, speech.calibration), (few.dev, speech.dev), (few.test, speech.test)):
        assert part.utterances == whole.utterances[:2]
        assert all(np.array_equal(a, b) for a, b in zip(part.waveforms, whole.waveforms[:2], strict=True))
    assert len(sq.evaluate(support.graft(), few.dev).answers) == 2


def test_every_layer_is_observed_and_quantised_by_the_calibrator_that_is_named(statistics: Histograms) -> None:
    model = support.graft()
    assert list(statistics) == [op.name for op in model.ops()]
    for calibrator in ("mse", "max"):
        expected = calibrated.uniform(statistics, calibrator, sq.Settings())
        assert sq.scheme(model, statistics, calibrator) == expected
    lopsided = sq.scheme(model, statistics, "max", symmetric=False)
    assert any(layer.activations[0].zero_point for layer in lopsided.values())
    narrow = sq.Weights(bits=4, per=sq.PerGroup(16))
    first = list(statistics)[:2]
    some = sq.scheme(model, statistics, weights=narrow, layers=first)
    assert list(some) == first
    assert {layer.weight for layer in some.values()} == {narrow}
    with pytest.raises(DataError, match=r"layers nowhere were not observed.*stablequant inspect lists them"):
        sq.scheme(model, statistics, layers=["nowhere"])


def test_attention_s_products_are_observed_and_quantised_if_wished(speech: SpeechSplits) -> None:
    model = support.graft()
    statistics = sq.observe(model, speech.calibration, attention_matmuls=True)
    assert list(statistics) == [op.name for op in model.ops(matmuls=True)]
    scheme = sq.scheme(model, statistics, "max")
    assert any(layer.weight is None for layer in scheme.values())
    assert len(sq.evaluate(model, speech.dev, scheme).answers) == 4


def test_two_evaluations_are_compared(speech: SpeechSplits, statistics: Histograms) -> None:
    model = support.graft()
    coarse = sq.scheme(model, statistics, "max", weights=sq.Weights(bits=3), bits=3)
    before, after = sq.evaluate(model, speech.dev), sq.evaluate(model, speech.dev, coarse)
    assert [u.id for u in before.examples] == [u.id for u in speech.dev.utterances]
    difference = sq.compare(before, after)
    assert difference.delta > 0
    assert difference.delta == pytest.approx(after.score.rate - before.score.rate)
    assert difference.low <= difference.delta <= difference.high
    with pytest.raises(DataError, match="differ in their ids"):
        sq.compare(before, sq.evaluate(model, speech.test))


@pytest.mark.parametrize("labels", [False, True])
def test_both_stages_find_layers_and_p(
    speech: SpeechSplits, statistics: Histograms, tmp_path: Path, labels: bool
) -> None:
    objective = None if labels else sq.Divergence()
    journal = tmp_path / "trials.sqlite"
    some = dict(list(statistics.items())[:8])
    trials = sq.Trials(support.graft(), speech.dev, objective, journal=journal, bits=6)
    found: Stage1 = sq.stage1(trials, some, gamma=0.5)
    assert found.reference.score.metric == ("WER" if labels else "KL")
    assert [layer.name for layer in found.layers] == list(some)
    costs = {layer.name: layer.delta for layer in found.layers}
    assert set(found.flagged) == {name for name, cost in costs.items() if cost > 0.5}
    assert list(found.flagged) == sorted(found.flagged, key=lambda name: -costs[name])
    assert found.flagged, "nothing is flagged here: the test shows nothing of stage 2"
    best = sq.stage2(trials, some, found.flagged, p_step=0.25)
    assert [set(t.p.values()) for t in best.trials] == [{0.0}, {0.25}, {0.5}]
    assert list(best.p) == list(found.flagged)
    assert best.scheme.keys() == some.keys()
    # What the functions were given is in force for them alone, and all that they computed is in the journal.
    assert trials.settings == sq.Settings(bits=6)
    trials.journal.__exit__(None, None, None)
    again = sq.Trials(support.graft(), speech.dev, objective, journal=journal, bits=6)
    assert sq.stage1(again, some, gamma=0.5) == found
    assert again.simulator.multiplications == 0


def test_quantize_leaves_a_folder_with_plan_and_summary(run: sq.Run) -> None:
    assert json.loads((run.folder / "summary.json").read_text()) == json.loads(json.dumps(run.summary))
    assert run.summary["int8_file"]["bytes_ratio"] < 0.3
    recipe = {"strategy": "allocate", "objective": "divergence", "rounding": "gptq", "fold": "smooth"}
    assert run.plan.settings == sq.Settings(**SETTINGS, **recipe, normalizer="english")
    chosen = [option.scheme for layer in run.plan.layers for option in layer.options if option.chosen]
    assert Counter(chosen) == run.summary["allocation"]["schemes"]
    assert len(chosen) == len(run.plan.layers)


def test_a_folder_is_opened_and_transcribes_files_and_waveforms_as_it_was_measured(
    run: sq.Run, speech: SpeechSplits
) -> None:
    model = sq.open(run, runtime="onnxruntime", threads=1)
    assert model.runtime.startswith("onnxruntime")
    assert model.evaluate(speech.test).score.rate == pytest.approx(run.summary["int8_file"]["wer"], abs=1e-4)
    (first, *_), (sound, *_) = speech.test.utterances, speech.test.waveforms
    answer = model.transcribe(Path(str(first.audio)))
    assert answer.text
    assert model.transcribe(str(first.audio)) == model.transcribe(sound) == answer
    assert len(model.answers(speech.test)) == 4


def test_a_float_checkpoint_is_opened_too(speech: SpeechSplits) -> None:
    model = sq.open(support.GRAFT)
    assert model.runtime == "torch, float32"
    assert model.evaluate(speech.dev) == sq.evaluate(support.graft(), speech.dev)


def test_speech_without_text_is_compared_with_what_float_says(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in (*support.SHORT, *support.CALIBRATION[:1]):
        shutil.copy(support.SPEECH / "audio" / f"{name}.flac", folder)
    model = support.graft()
    bare = sq.read_speech([str(folder)], model)
    assert bare.settings.data.task == "likeness"
    assert {u.text for part in (bare.calibration, bare.dev, bare.test) for u in part.utterances} == {None}
    before, after = (
        sq.evaluate(model, bare.dev),
        sq.evaluate(model, bare.dev, sq.scheme(model, sq.observe(model, bare.dev), "max")),
    )
    assert before.score.rate == 0.0 < after.score.rate
    assert sq.compare(before, after).delta == pytest.approx(after.score.rate)
    assert str(after).startswith("word difference ")
    with pytest.raises(DataError, match="have no text to compare with"):
        sq.stage1(sq.Trials(model, bare.dev), {})
    with pytest.raises(SettingsError, match=r"the speech has no text, .*--objective divergence"):
        sq.quantize(model, bare, tmp_path / "out", recipe="paper")
    run = sq.quantize(model, bare, tmp_path / "out", recipe="fast")
    assert run.summary["data"]["references"] == "float32"
    assert run.plan.settings.data.task == "likeness"
    measured = sq.open(run).evaluate(bare.test)
    assert measured.figures["rate"] == run.summary["int8_file"]["rate"]


def test_a_run_is_exported_to_another_runtime(run: sq.Run) -> None:
    pytest.importorskip("openvino")
    assert sq.export(run, "openvino") == [run.folder / "model.openvino.onnx"]
    recording = support.SPEECH / "audio" / "is-set-to.flac"
    one, other = (sq.open(run.folder, runtime=name).transcribe(recording).text for name in ("onnxruntime", "openvino"))
    # Two runtimes never round alike everywhere; the gate of the export has compared their logits.
    assert SequenceMatcher(None, one, other).ratio() > 0.8


# -- parts of one's own ------------------------------------------------------------------------------------------------


def three_sigma(histogram: Histogram, *, bits: int, symmetric: bool) -> Range:
    """Three root mean squares to either side of zero, whatever the width."""
    bins = histogram.nonempty()
    middle = (np.asarray(bins.low, np.float64) + np.asarray(bins.high, np.float64)) / 2
    reach = 3 * float(np.sqrt(np.average(middle**2, weights=bins.counts)))
    return Range(-reach, reach)


def test_a_calibrator_of_one_s_own(
    speech: SpeechSplits, statistics: Histograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(CALIBRATORS, "three_sigma", raising=False)
    assert sq.calibrator("three_sigma")(three_sigma) is three_sigma
    try:
        scheme = sq.scheme(support.graft(), statistics, "three_sigma")
        for name, layer in scheme.items():
            (grid,), (histogram,) = layer.activations, statistics[name]
            assert grid.scale == pytest.approx(
                three_sigma(histogram, bits=8, symmetric=True).high / grid.qmax, rel=1e-6
            )
        assert len(sq.evaluate(support.graft(), speech.dev, scheme).answers) == 4
        with pytest.raises(SettingsError, match="there is a calibrator 'three_sigma' already"):
            sq.calibrator("three_sigma")(lambda histogram, *, bits, symmetric: Range(-1, 1))
    finally:
        del CALIBRATORS["three_sigma"]
    with pytest.raises(SettingsError, match=r"calibrator 'three_sigma' is unknown\. Expected one of max"):
        sq.scheme(support.graft(), statistics, "three_sigma")


class Exactness:
    """One error for every recording that is not transcribed to the letter."""

    metric = "error rate"

    def __init__(self, settings: DataSettings) -> None:
        self.settings = settings

    def suited(self, examples: Sequence[Utterance]) -> Exactness:
        return self

    def decided(self) -> dict[str, Any]:
        return {}

    def refuse(self, examples: Sequence[Utterance], head: Head) -> Mapping[str, str]:
        return {}

    def score(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> Score:
        wrong = tuple(
            float(a.text.lower() != u.text.lower().strip(".")) for a, u in zip(answers, examples, strict=True)
        )
        return Score(self.metric, tuple(u.id for u in examples), wrong, (1.0,) * len(wrong))

    def figures(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> dict[str, Any]:
        return {"wrong": sum(self.score(examples, answers).errors)}

    def doubts(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> list[str]:
        return []

    def alarms(self, answers: Sequence[Answer], reference: Sequence[Answer], name: str) -> list[str]:
        return []


def test_a_task_of_one_s_own(speech: SpeechSplits, statistics: Histograms) -> None:
    assert sq.task("exactness")(Exactness) is Exactness
    try:
        found = sq.evaluate(support.graft(), speech.dev, task="exactness")
        wrong = [
            a.text.lower() != u.text.lower().strip(".") for a, u in zip(found.answers, found.examples, strict=True)
        ]
        assert found.figures == {"wrong": sum(wrong)}
        assert found.score.rate == pytest.approx(100 * sum(wrong) / 4)
        trials = sq.Trials(support.graft(), speech.dev, task="exactness", bits=6)
        layers = sq.stage1(trials, dict(list(statistics.items())[:2])).layers
        assert {layer.rate for layer in layers} <= {0, 25, 50, 75, 100}
    finally:
        del TASKS["exactness"]
    with pytest.raises(SettingsError, match=r"task 'exactness' is unknown\. Expected one of recognition"):
        sq.evaluate(support.graft(), speech.dev, task="exactness")


def test_a_target_of_one_s_own(run: sq.Run) -> None:
    mine = sq.Target("accelerator", windows=(0, 1, 2))
    assert sq.target(mine) is mine
    try:
        (file,) = sq.export(run, "accelerator")
        assert file == run.folder / "model.accelerator.onnx"
        with pytest.raises(SettingsError, match="there is a target 'accelerator' already"):
            sq.target(sq.Target("accelerator"))
        # As OpenVINO's, which has the same form.
        (same,) = sq.export(run, "openvino")
        assert file.read_bytes() == same.read_bytes()
        # A scale a frame is nothing for TensorRT; the message says what is.
        with pytest.raises(ExportError, match=r"a scale a frame in \d+ layers?.*Fix: quantize with --recipe paper"):
            sq.export(run, "tensorrt")
    finally:
        del TARGETS["accelerator"]
    with pytest.raises(SettingsError, match=r"--target accelerator\. Expected one of onnxruntime, openvino, tensorrt"):
        sq.export(run, "accelerator")


def test_a_family_of_one_s_own(speech: SpeechSplits, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(support.GRAFT, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["OurOwnForCTC"]}))

    @sq.family
    class OurOwn(Wav2Vec2):
        """The same by another name."""

        architectures = ("OurOwnForCTC",)

    try:
        found = sq.evaluate(sq.load(folder), speech.dev)
        assert found == sq.evaluate(support.graft(), speech.dev)
        with pytest.raises(SettingsError, match="there is a family of OurOwnForCTC already"):
            sq.family(type("Another", (OurOwn,), {}))
    finally:
        del FAMILIES["OurOwnForCTC"]
