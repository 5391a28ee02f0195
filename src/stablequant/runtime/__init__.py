"""Runtimes: one thin session class a backend, all driven by the same decoding."""
