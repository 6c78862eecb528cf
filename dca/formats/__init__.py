"""Files in and out: readers of rollout formats, writers of training formats."""
