"""Open a model to run it: a float checkpoint, exported files, or a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stablequant.errors import ModelError, SettingsError
from stablequant.export.run_folder import require_whole
from stablequant.families.checkpoint import PROCESSOR_FILES, load, load_frontend
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.network.backend import Backend
from stablequant.quantize.folding.kept import NAME as FOLD
from stablequant.quantize.folding.kept import refolded
from stablequant.quantize.plan import Plan
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weight_file import NAME as WEIGHTS
from stablequant.quantize.weight_file import kept_layers, load_weights
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.registry import RUNTIMES, choose, graph_files, is_exported, open_exported
from stablequant.settings import Settings


@dataclass(frozen=True)
class Opened:
    """A model that can be run.

    Attributes:
        frontend: Turns audio into inputs, and outputs into answers.
        backend: Runs its graphs.
        runtime: What that is, in words.
        settings: Those that its plan was made with; the defaults where there is no plan.
        plan: The plan, where there is one.
        checkpoint: The float checkpoint, where it was loaded.
    """

    frontend: Frontend
    backend: Backend
    runtime: str
    settings: Settings
    plan: Plan | None = None
    checkpoint: SpeechModel | None = None

    def given(self, values: Mapping[str, Any]) -> Opened:
        """The same with other settings: ``values``, by name; a model that can be is asked for another language or task by them.

        Raises:
            SettingsError: A setting is unknown, or the model cannot be asked for that.
        """
        settings = self.settings.updated(**values)
        data = settings.data
        if (
            data.window == "audio"
            and self.plan
            and self.checkpoint is None
            and self.plan.settings.data.window == "full"
        ):
            what = "window=audio, but the files were written for whole windows alone"
            raise SettingsError(what, expected="files that take any length", fix="quantize with --set window=audio")
        frontend = self.frontend.asked(data.language, translate=data.translate, window=data.window)
        return replace(self, settings=settings, frontend=frontend)


def open_model(
    model: str | Path,
    *,
    simulate: bool = False,
    checkpoint: str = "",
    runtime: str = "",
    threads: int | None = None,
    language: str | None = None,
) -> Opened:
    """Open ``model``.

    A folder that quantize wrote runs its int8 files, in ``runtime`` or the one that `registry.choose` picks. Its plan is
    run on the float checkpoint it was made from with ``simulate``, and in int8 by PyTorch as ``runtime`` "torch".
    Anything else is loaded as a float checkpoint, with the adapters of ``language`` if it has one set a language.

    Raises:
        SettingsError: The model cannot be run so.
        ModelError: It cannot be loaded.
    """
    folder = Path(model)
    if runtime and (simulate or not is_exported(folder)):
        what = f"--runtime {runtime}, but {model} is run by torch"
        raise SettingsError(what, expected="a folder written by stablequant quantize, without --simulate")
    if not is_exported(folder):
        if simulate:
            what = f"{model} has no plan.json to simulate"
            raise SettingsError(what, expected="a folder written by stablequant quantize")
        loaded = load(model, language)
        return Opened(loaded.frontend, Simulator(loaded).backend({}), "torch, float32", Settings(), checkpoint=loaded)
    if not simulate and runtime != "torch":
        plan = Plan.load(folder / "plan.json")
        data = plan.settings.data
        language = plan.model.details.get("language")
        frontend = load_frontend(folder, language).asked(data.language, translate=data.translate, window=data.window)
        graphs = frontend.head.graphs
        runtime = runtime or choose(folder, graphs)
        if runtime in RUNTIMES:
            small = (folder / name for name in PROCESSOR_FILES if (folder / name).is_file())
            require_whole(folder, [*graph_files(folder, graphs, runtime).values(), *small])
        backend = open_exported(folder, graphs, runtime=runtime, threads=threads)
        return Opened(frontend, backend, f"{backend.name}, int8", plan.settings, plan)
    plan, loaded = open_plan(folder, checkpoint)
    if runtime == "torch":
        from stablequant.runtime.torch_int8 import TorchInt8Backend

        int8 = TorchInt8Backend(loaded, plan.scheme(), weights=planned_weights(folder, plan, loaded))
        return Opened(loaded.frontend, int8, f"{int8.name}, int8", plan.settings, plan, loaded)
    weights = planned_weights(folder, plan, loaded)
    simulated = simulator(loaded, plan.settings, weights).backend(plan.scheme())
    return Opened(loaded.frontend, simulated, "torch, simulated int8", plan.settings, plan, loaded)


def open_plan(folder: Path, checkpoint: str = "", *, folded: bool = True) -> tuple[Plan, SpeechModel]:
    """The plan of ``folder``, and the float checkpoint that it was made from, which may be elsewhere by now.

    Args:
        folder: That quantize wrote.
        checkpoint: Where the checkpoint is; default: where it was.
        folded: Whether the model is what the plan's layers are of, folded if the run folded it; else as its checkpoint has it.
    """
    plan = Plan.load(folder / "plan.json")
    try:
        loaded = load(checkpoint or plan.model.name, plan.model.details.get("language"))
    except ModelError as error:
        if checkpoint:
            raise
        what = f"{folder / 'plan.json'} was made from {plan.model.name}: {error.what}"
        fix = "say where the float checkpoint is now with --checkpoint"
        raise ModelError(what, expected=error.expected, fix=fix) from error
    planned = loaded
    if plan.settings.fold != "none":
        require_whole(folder, [folder / FOLD])
        planned = refolded(loaded, folder, plan.settings.fold)
    plan.check(planned.fingerprint, (op.name for op in planned.ops(matmuls=True)))
    data, loaded = plan.settings.data, planned if folded else loaded
    return plan, loaded.asked(data.language, translate=data.translate, window=data.window)


def planned_weights(folder: Path, plan: Plan, model: SpeechModel) -> WeightStore:
    """The integer weights of the plan in ``folder``: those that it keeps, all others as they follow from ``model``.

    Raises:
        ModelError: The file that it keeps them in is missing, or of another run.
        PlanError: It does not hold what the plan says.
    """
    if not kept_layers(plan):
        return WeightStore.of(model)
    require_whole(folder, [folder / WEIGHTS])
    return WeightStore(model.layer_weights(), kept=load_weights(folder, plan))


def simulator(model: SpeechModel, settings: Settings, weights: WeightStore | None = None) -> Simulator:
    """A simulator of ``model`` that takes the schemes that ``settings`` lead to; integer ``weights`` by default its own."""
    return Simulator(model, matmuls=settings.activations.attention_matmuls, weights=weights)
