"""A full dca.toml and how the tests of the configuration read one."""

from pathlib import Path

import pytest

from dca.config import load
from dca.domain.errors import ConfigError

FULL = """\
[project]
store = "runs/x.db"
labels = "math-v1"

[review]
panel = "main"

[consensus]
unmarked = "padding"

[[labels]]
set = "math-v1"
key = "solves"
letter = "S"
value = 1
description = "solves it"

[[labels]]
set = "math-v1"
key = "padding"
letter = "F"
value = 0.0
description = "idle talk"

[panels.main]
reviewers = [
  "a",  # a comment
  "arithmetic",
]

[reviewers.a]
kind = "openai"
model = "m"
api_key_env = "A_KEY"
"""


def read(text: str, here: Path, environment=None, flags=None):
    """Write ``text`` as dca.toml and load it."""
    (here / "dca.toml").write_text(text, encoding="utf-8")
    return load(flags, start=here, environment=environment or {})


def refusal(text: str, here: Path, environment=None, flags=None) -> list[str]:
    """Return the lines of the error that ``text`` gives."""
    with pytest.raises(ConfigError) as caught:
        read(text, here, environment, flags)
    return str(caught.value).split("\n")
