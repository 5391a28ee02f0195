"""Quantisation: the arithmetic of the integer grid, its simulation in a model, and the plan of it."""
