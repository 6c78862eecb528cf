"""Differentiable objectives: log-probabilities and stored columns to a loss."""
