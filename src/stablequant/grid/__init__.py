"""Numbers only: grids, histograms, calibrators, scales of weights."""
