"""Consensus over differing segmentations: pure functions on flat numpy arrays."""
