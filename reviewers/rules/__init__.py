"""The offline panel: four deterministic reviewers that read the text."""
