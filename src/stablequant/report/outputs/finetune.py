"""What finetune prints with ``--json``, and keeps beside the checkpoint."""

from __future__ import annotations

from stablequant.report.outputs.parts import Amount, Count, Machine, Output


class Distance(Output):
    """The loss in nats a unit, and the divergence from the float model that training began with, in nats a step."""

    loss: Amount
    divergence: Amount
    divergence_error: float | None


class HeldOut(Output):
    """Held-out speech: under the scheme before and after, and in float after."""

    utterances: Count
    seconds: Amount
    before: Distance
    after: Distance
    float_after: Distance


class TrainingLoss(Output):
    """Mean loss of the first and of the last tenth of the steps."""

    first: Amount
    last: Amount


class Finetuned(Output):
    """``finetune.json``, and what ``finetune --json`` prints: what a model was trained on, and what came of it."""

    model: str
    fingerprint: str
    checkpoint: str
    checkpoint_fingerprint: str
    loss: str
    steps: Count
    learning_rate: Amount
    seed: Count
    data: list[str]
    utterances: Count
    seconds: Amount
    minutes: Amount
    training_loss: TrainingLoss
    dev: HeldOut
    machine: Machine
