"""Transcribe recordings of which nothing is known, of any length, in bounded memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stablequant.data.audio import Stream, open_many
from stablequant.data.folder import AUDIO_ENDINGS, recordings_in
from stablequant.data.paths import shown
from stablequant.data.pieces import Piece, cut
from stablequant.data.utterance import Utterance
from stablequant.errors import AudioError, DataError
from stablequant.heads.head import joined
from stablequant.jobs.open import Opened, open_model
from stablequant.jobs.pieces import Lengths, lengths
from stablequant.progress import Progress, silent
from stablequant.runtime.transcribe import Heard, transcribe_stream
from stablequant.settings import Settings

#: What progress is told of, in seconds of audio.
TITLE = "transcribing"


def transcribe(
    model: str,
    files: Sequence[Path],
    given: Mapping[str, Any] | None = None,
    *,
    progress: Progress = silent,
    **options: Any,
) -> dict[str, Any]:
    """`Transcription.result` of all of ``files``; arguments are those of `Transcription.start`."""
    work = Transcription.start(model, files, given, **options)
    for _ in work.rows(progress):
        pass
    return work.result()


@dataclass
class Transcription:
    """Recordings on their way to their texts: what is done can be asked for at any time.

    A recording is decoded a block at a time and cut at its quietest moments where it is longer than the model copes with,
    and no more of it is in memory than the pieces that wait for the next batches.

    Attributes:
        model: Folder or hub id.
        opened: The model.
        files: The recordings, each read through once, by name.
        limits: How long a piece and a batch may be.
        skipped: What could not be used, with the reason, by file.
        notes: What is odd, by file.
        left_out: What was not tried in a folder, and why.
        timestamps: Whether the times of segments are told.
    """

    model: str
    opened: Opened
    files: Mapping[str, Stream]
    limits: Lengths
    skipped: dict[str, str]
    notes: list[list[str]]
    left_out: list[list[str]]
    timestamps: bool = False
    _heard: dict[int, list[Heard]] = field(default_factory=lambda: defaultdict(list))
    _pieces: dict[int, int] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        model: str,
        files: Sequence[Path],
        given: Mapping[str, Any] | None = None,
        *,
        runtime: str = "",
        checkpoint: str = "",
        threads: int | None = None,
        timestamps: bool = False,
    ) -> Transcription:
        """Open the model and read every recording of ``files`` through, so that a bad one is told before work begins.

        Args:
            model: Folder or hub id.
            files: Recordings, or folders of them.
            given: Settings that the user gave. All others are those of the model's plan, if it has one.
            runtime: That runs int8 files; default: by the files, what is installed, and the processor.
            checkpoint: Where the float checkpoint of the plan is now; default: where it was.
            threads: Of the runtime; default: its own choice.
            timestamps: Whether to tell the times of segments.

        Raises:
            SettingsError: There are to be timestamps, and the model has none.
        """
        language = Settings.parse(given or {}).data.language  # before anything is opened
        found, left_out = _listed(files)
        plain = open_model(model, runtime=runtime, checkpoint=checkpoint, threads=threads, language=language)
        opened = plain.given(given or {})
        if timestamps:
            opened = replace(opened, frontend=opened.frontend.timed())
        data, frontend = opened.settings.data, opened.frontend
        utterances = [Utterance(name, None, path) for name, path in found.items()]
        bounds = frontend.bounds
        kept, skipped, notes = open_many(
            utterances, frontend.sampling_rate, data.max_bad_fraction, shortest=bounds.shortest
        )
        streams = {utterance.id: stream for utterance, stream in kept}
        return cls(
            model,
            opened,
            streams,
            lengths(bounds, data),
            dict(skipped),
            [list(note) for note in notes],
            left_out,
            timestamps,
        )

    def rows(self, progress: Progress = silent) -> Iterator[dict[str, Any]]:
        """One row a recording, as in `result`, in the order of ``files`` and as soon as it is done."""
        opened, data = self.opened, self.opened.settings.data
        total, done, told = max(1, round(sum(s.survey.seconds for s in self.files.values()))), 0.0, 0
        progress(TITLE, 0, total)
        size, seconds = data.batch_size, self.limits.batch
        for batch in transcribe_stream(opened.frontend, opened.backend, self._cut(), size, seconds):
            for heard in batch:
                self._heard[heard.owner].append(heard)
                done += heard.end - heard.start
            progress(TITLE, min(round(done), total - 1), total)
            while self._done(told):
                yield from self._rows(told)
                told += 1
        for index in range(told, len(self.files)):
            yield from self._rows(index)
        progress(TITLE, total, total)

    def result(self) -> dict[str, Any]:
        """What is done by now.

        Returns:
            ``transcripts``: ``file``, ``text``, ``cut_off`` (whether the length limit cut the text off), ``repeats``
            (whether a decoder said one phrase over and over), ``pieces``, ``parts`` (``start``, ``end`` in seconds and
            ``text`` of each piece), ``finished`` (false where work stopped within the recording), with ``timestamps``
            ``segments`` (``start``, ``end`` in seconds of the recording and ``text``); ``skipped`` and
            ``notes``: what could not be used, or is odd, by file; ``left_out``: what was not tried in a folder, and why.
        """
        return {
            "model": self.model,
            "runtime": self.opened.runtime,
            "transcripts": [row for i in range(len(self.files)) for row in self._rows(i)],
            "skipped": dict(self.skipped),
            "notes": self.notes,
            "left_out": self.left_out,
        }

    def _cut(self) -> Iterator[tuple[int, Piece]]:
        """Pieces of all recordings, one after another. One that can be read no longer ends there, and is told."""
        for index, (name, stream) in enumerate(self.files.items()):
            count = 0
            try:
                for piece in cut(stream.blocks(), stream.sampling_rate, self.limits.piece):
                    count += 1
                    yield index, piece
            except AudioError as error:
                self.skipped[name] = error.what
            self._pieces[index] = count

    def _done(self, index: int) -> bool:
        return len(self._heard[index]) == self._pieces.get(index)

    def _rows(self, index: int) -> Iterator[dict[str, Any]]:
        """The row of a recording, if any of it is transcribed."""
        heard = sorted(self._heard[index], key=lambda h: h.start)
        if not heard:
            return
        answer, name = joined([h.answer for h in heard]), self._names[index]
        yield {
            "file": name,
            "text": answer.text,
            "cut_off": answer.truncated,
            "repeats": answer.looping,
            "pieces": len(heard),
            "parts": [{"start": round(h.start, 3), "end": round(h.end, 3), "text": h.answer.text} for h in heard],
            "finished": self._done(index) and name not in self.skipped,
        } | ({"segments": _segments(heard)} if self.timestamps else {})

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.files)


def _segments(heard: Sequence[Heard]) -> list[dict[str, Any]]:
    """Segments of all pieces of a recording, in seconds of the recording."""
    return [
        {"start": round(h.start + s.start, 2), "end": round(h.start + s.end, 2), "text": s.text}
        for h in heard
        for s in h.answer.segments
    ]


def _listed(files: Sequence[Path]) -> tuple[dict[str, Path], list[list[str]]]:
    """Recordings by the name they are called, and what was left out of folders."""
    found: dict[str, Path] = {}
    left_out: list[list[str]] = []
    for path in files:
        inside, others = recordings_in(path) if path.is_dir() else ([path], [])
        found |= {shown(p): p for p in inside}
        left_out += [[shown(p), why] for p, why in others]
    if not found:
        what = f"no recordings in {', '.join(shown(p) for p in files)}"
        raise DataError(what, expected=f"files ending in {', '.join(AUDIO_ENDINGS)}")
    return found, left_out
