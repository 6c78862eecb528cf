"""Words that questions may hold besides the prompt: personas and worked examples.

Both are data files of this package. Each persona and each example has a digest of its own, so that
a reviewer's words are the same words until one of those that it is asked with changes.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import msgspec

from dca.domain.errors import PromptError
from dca.domain.review import LinkKind, Soundness
from dca.domain.rollout import content_id


@dataclass(frozen=True, slots=True)
class ExampleStep:
    """One step of a worked review."""

    quote: str
    """Where: the text of the step."""
    label: str
    """Key of a label of ``contribution-v1``."""
    confidence: float
    """In [0, 1]."""
    reason: str
    """Why."""


@dataclass(frozen=True, slots=True)
class Example:
    """A problem, a text about it, and a good review of the text."""

    problem: str
    reasoning: str
    steps: tuple[ExampleStep, ...]
    """In the order of the text."""
    links: tuple[tuple[int, int, LinkKind], ...]
    """From and to, as numbers of ``steps`` from 1, and how."""
    finding: str
    blame: int = 0
    """Number of the step to blame, 0 for none."""
    soundness: Soundness = Soundness.UNSOUND
    """Whether the steps support the answer; those of a wrong answer do not."""

    @property
    def digest(self) -> str:
        """Content hash."""
        return content_id("example", msgspec.to_builtins(self))


@dataclass(frozen=True, slots=True)
class Examples:
    """The worked examples, by the outcome that their reviewer is told."""

    failed: tuple[Example, ...]
    succeeded: tuple[Example, ...]


@lru_cache(maxsize=1)
def load_personas() -> Mapping[str, str]:
    """Return each persona's paragraph by its name."""
    return tomllib.loads(files("prompts").joinpath("personas.toml").read_text("utf-8"))


def load_persona(name: str) -> str:
    """Return the paragraph of one persona; raise ``PromptError`` when there is none."""
    personas = load_personas()
    if name not in personas:
        raise PromptError(
            f"there is no persona {name!r}", hint=f"Known personas: {', '.join(sorted(personas))}."
        )
    return personas[name]


@lru_cache(maxsize=1)
def load_examples() -> Examples:
    """Return the worked examples."""
    content = files("prompts").joinpath("examples.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(content), Examples)
