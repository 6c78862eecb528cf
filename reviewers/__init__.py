"""I/O to reviewers: rules, model providers, replay."""
