"""Credit assigners: pure functions from a group to per-token credit."""
