"""Observation: what the activations of a model look like, in fixed memory."""

from stablequant.grid.histogram import Bins, Histogram
from stablequant.observe.storage import load_histograms, save_histograms

__all__ = ["Bins", "Histogram", "load_histograms", "save_histograms"]
