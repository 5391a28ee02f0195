"""How much of an evaluation a trial of each layer takes, once what it shares with others is computed."""

from __future__ import annotations

from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.quantize.simulate import Simulator
from stablequant.settings import Settings


def remaining_work(model: SpeechModel, speech: Speech, settings: Settings) -> dict[str, float]:
    """Share of the multiplications of one float evaluation, by operation: its own and all later ones', the decoder whole.

    Args:
        model: What is searched.
        speech: Its first batch is transcribed to count.
        settings: Say which operations are quantised.
    """
    simulator = Simulator(model, matmuls=settings.activations.attention_matmuls)
    model.frontend.recognize(simulator.backend({}), speech.waveforms_of(speech.batches[0]))
    first, *later = [simulator.executors[graph.name] for graph in model.graphs]
    decoder = sum(executor.work.total() for executor in later)
    total = left = first.work.total() + decoder
    found = {op.name: decoder / total for op in model.ops(matmuls=settings.activations.attention_matmuls)}
    for node in first.graph.nodes:
        if node.name in found:
            found[node.name] = left / total
        left -= first.work[node.name]
    return found
