from __future__ import annotations

import numpy as np

from stablequant.data.loudness import silent

RATE = 16000


def test_pauses_are_silent_at_any_gain() -> None:
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(RATE).astype(np.float32)
    sound[4000:8000] *= 0.01  # 40 dB below, a quarter of a second
    for gain in (1.0, 0.001):
        found = silent(gain * sound, RATE)
        assert len(found) == 50
        assert np.flatnonzero(found).tolist() == list(range(13, 25))
    assert not silent(np.zeros(100, np.float32), RATE).any()
