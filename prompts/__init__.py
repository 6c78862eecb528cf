"""The words that reviewers are asked with: one Markdown file per prompt, and their loader."""
