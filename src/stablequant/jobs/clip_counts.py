"""Clipped values of many recordings, by layer, channel, token and word, with the tests of whether they could be chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data.loudness import silent as silence
from stablequant.families.model import SpeechModel
from stablequant.grid.affine import QuantParams
from stablequant.heads.head import Answer
from stablequant.network.execute import Operands, TorchBackend
from stablequant.observe.clipping import Clips, ClipWatcher, first_step
from stablequant.quantize.simulate import Simulator
from stablequant.tasks.permutation import higher_where, uneven_over

#: Tokens said less often are one kind together.
SELDOM = 5


@dataclass
class _Layer:
    """Sums over recordings."""

    values: int = 0
    clipped: int = 0
    frames: int = 0
    clipped_frames: int = 0
    speech: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    """Frames in silence and in speech,"""
    clipped_speech: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    """and those of them in which a value was clipped."""
    channels: NDArray[np.int64] | None = None


class ClipCounts:
    """Counts over recordings that are run one after the other, all in float or all under a plan."""

    def __init__(
        self,
        model: SpeechModel,
        simulator: Simulator,
        grids: Mapping[str, QuantParams],
        judged: Collection[str],
        operands: Operands | None = None,
    ) -> None:
        """Start with nothing.

        Args:
            model: What is run.
            simulator: Runs it, with attention's products apart.
            grids: Static grids by layer; what they clip is counted.
            judged: The layers among them that figures by speech, token and word are made of.
            operands: What is computed with; ``None``: float.
        """
        self._model, self._judged = model, judged
        self._plain = TorchBackend(simulator.executors, operands)
        self._watcher = ClipWatcher(model, grids, operands)
        self._watched = TorchBackend(simulator.executors, self._watcher)
        self._steps = {op.name for op in model.ops() if model.graph(op.graph).runs_in_steps}
        self._layers: dict[str, _Layer] = {name: _Layer() for name in grids}
        self._tokens: list[tuple[int, int, float]] = []
        """Recording, token, and share of its time in which a layer was clipped, mean of the layers."""
        self._words: list[tuple[int, bool, float]] = []
        """Recording, whether it went wrong, and the mean share of its tokens."""
        self._recordings = 0
        self._last: list[tuple[int, float]] = []

    def watch(self, waveform: NDArray[np.float32]) -> Answer:
        """Count what is clipped in one recording; returns what the model says."""
        frontend, head, watcher = self._model.frontend, self._model.frontend.head, self._watcher
        watcher.forget()
        features = frontend.features([waveform])
        outputs = frontend.encode(self._watched, features)
        (answer,) = head.read(self._plain, outputs, features.sizes)
        head.logits(self._watched, outputs, [answer])
        count = len(answer.tokens)
        quiet = silence(waveform, frontend.sampling_rate)
        seconds = max(frontend.bounds.window or 0.0, len(waveform) / frontend.sampling_rate)
        heard = head.heard(self._plain, outputs, answer, watcher.attention(count)) if count else np.array([0.0, 1.0])
        shares = []
        for name, clips in watcher.clips.items():
            if name in self._steps:
                steps = np.arange(len(clips.frames)) - first_step(len(clips.frames), count)
                owner, spoken = steps, np.ones(len(steps), bool)
            else:
                at = (np.arange(len(clips.frames)) + 0.5) / len(clips.frames)
                owner = np.searchsorted(heard[1:-1], at, side="right")
                window = (at * seconds / len(waveform) * frontend.sampling_rate * len(quiet)).astype(int)
                # What a model's window holds beyond the recording is silence.
                spoken = np.append(~quiet, False)[np.minimum(window, len(quiet))]
            self._count(name, clips, spoken)
            if name not in self._judged:
                continue
            mine = spoken & (owner >= 0) & (owner < count)
            total = np.bincount(owner[mine], minlength=count)
            hit = np.bincount(owner[mine], clips.frames[mine] > 0, minlength=count)
            shares.append(np.where(total > 0, hit / np.maximum(total, 1), 0.0))
        by_token = np.mean(shares, axis=0) if count else np.zeros(0)
        self._tokens += [(self._recordings, t, float(x)) for t, x in zip(answer.tokens, by_token, strict=True)]
        spelled = [len(head.text(answer.tokens[: i + 1]).split()) for i in range(count)]
        self._last = [(max(0, n - 1), float(x)) for n, x in zip(spelled, by_token, strict=True)]
        self._recordings += 1
        return answer

    def judge(self, wrong: Sequence[bool]) -> None:
        """Note which words of the last answer went wrong."""
        shares = defaultdict(list)
        for word, share in self._last:
            shares[word].append(share)
        for word, mistaken in enumerate(wrong):
            if word in shares:
                self._words.append((self._recordings - 1, mistaken, float(np.mean(shares[word]))))

    def _count(self, name: str, clips: Clips, spoken: NDArray[np.bool_]) -> None:
        layer, hit = self._layers[name], clips.frames > 0
        layer.values += len(clips.frames) * len(clips.channels)
        layer.clipped += int(clips.frames.sum())
        layer.frames += len(hit)
        layer.clipped_frames += int(hit.sum())
        if name not in self._steps:
            layer.speech += np.bincount(spoken, minlength=2)
            layer.clipped_speech += np.bincount(spoken[hit], minlength=2)
        layer.channels = clips.channels if layer.channels is None else layer.channels + clips.channels

    def result(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        layers = [_layer_row(name, layer, name in self._steps) for name, layer in self._layers.items() if layer.frames]
        return {"layers": layers, "speech": self._speech(), "tokens": self._by_token(), "words": self._by_word()}

    def _speech(self) -> dict[str, float] | None:
        """Mean over encoder layers that clip anything of the share of their frames that are clipped, in speech and in silence."""
        judged = (self._layers[name] for name in self._layers if name in self._judged)
        found = [x for x in judged if x.clipped_speech.any() and x.speech.all()]
        if not found:
            return None
        silence_, speech = np.mean([x.clipped_speech / x.speech for x in found], axis=0)
        frames = np.sum([x.speech for x in found], axis=0)
        hit = np.sum([x.clipped_speech for x in found], axis=0)
        return {
            "in_speech": _short(speech),
            "in_silence": _short(silence_),
            "speech_of_frames": _short(frames[1] / frames.sum()),
            "speech_of_clipped": _short(hit[1] / hit.sum()),
        }

    def _by_token(self) -> dict[str, Any] | None:
        """Tokens by how often they are clipped, and whether that is uneven by more than chance."""
        if not any(share for _, _, share in self._tokens):
            return None
        recordings, ids, shares = (np.array(column) for column in zip(*self._tokens, strict=True))
        names, kind, times = np.unique(ids, return_inverse=True, return_counts=True)
        often = times >= SELDOM
        merged = np.where(often, np.cumsum(often) - 1, often.sum())[kind]
        test = uneven_over(shares, merged, recordings)
        means = np.bincount(kind, shares) / times
        order = [i for i in np.argsort(-means, kind="stable") if often[i]]
        spell = self._model.frontend.processor.tokenizer.convert_ids_to_tokens
        return {
            "count": len(ids),
            "mean": _short(shares.mean()),
            "p": _short(test.p),
            "shuffles": test.shuffles,
            "kinds": [
                {"token": str(spell(int(names[i]))), "count": int(times[i]), "clipped": _short(means[i])} for i in order
            ],
        }

    def _by_word(self) -> dict[str, Any] | None:
        """Whether words that went wrong are clipped more than others of their recording; ``None`` where no text tells."""
        if not self._words:
            return None
        recordings, wrong, shares = (np.array(column) for column in zip(*self._words, strict=True))
        test = higher_where(shares, wrong, recordings)
        return {
            "count": len(wrong),
            "wrong": int(wrong.sum()),
            "clipped_wrong": _short(shares[wrong].mean()) if wrong.any() else None,
            "clipped_right": _short(shares[~wrong].mean()) if not wrong.all() else None,
            "p": _short(test.p) if 0 < wrong.sum() < len(wrong) else None,
            "shuffles": test.shuffles,
        }


def _layer_row(name: str, layer: _Layer, steps: bool) -> dict[str, Any]:
    assert layer.channels is not None
    order = np.argsort(-layer.channels, kind="stable")
    most = [i for i in order[:3] if layer.channels[i]]
    spoken = None if steps or not layer.speech.all() else layer.clipped_speech / layer.speech
    return {
        "layer": name,
        "values": layer.values,
        "clipped": layer.clipped,
        "frames": layer.frames,
        "clipped_frames": layer.clipped_frames,
        "channels": len(layer.channels),
        "clipped_channels": int((layer.channels > 0).sum()),
        "most": [{"channel": int(i), "clipped": int(layer.channels[i])} for i in most],
        "in_silence": None if spoken is None else _short(spoken[0]),
        "in_speech": None if spoken is None else _short(spoken[1]),
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
