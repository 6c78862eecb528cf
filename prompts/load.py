"""Load a prompt file, choose its sections and fill its slots.

A prompt file is Markdown. Lines of the form ``<!-- ... -->`` alone on a line structure it:

- ``<!-- part: system -->`` and ``<!-- part: user -->`` begin the two messages, once each;
  what stands before the first is a note to the reader and is never sent.
- ``<!-- when: units quotes -->`` begins a section that is sent when any of the named choices
  is made; ``<!-- end -->`` ends it. Sections do not nest.

``{{name}}`` is a slot. Slots are filled in one pass after the sections are chosen, so text
that is filled in is never read again: braces and marks inside it stay what they are.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files

from dca.domain.errors import PromptError
from dca.domain.rollout import ID_DIGITS

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MARK = re.compile(r"<!-- (?:(part|when): ([a-z0-9 -]+)|(end)) -->\n?")
_SLOT = re.compile(r"\{\{([a-z_]+)\}\}")
_PARTS = ("system", "user")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a prompt that is sent whole or not at all."""

    part: str
    """``system`` or ``user``."""
    when: frozenset[str]
    """Sent when one of these choices is made; empty: always sent."""
    text: str
    """Markdown with slots."""
    slots: frozenset[str]
    """The names of the slots in ``text``."""


@dataclass(frozen=True, slots=True)
class Messages:
    """A filled prompt."""

    system: str
    """Instructions: the same for every rollout with the same choices."""
    user: str
    """What is asked about."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file."""

    name: str
    """File name without ``.md``."""
    digest: str
    """First 20 hexadecimal digits of the SHA-256 of the file's bytes."""
    sections: tuple[Section, ...]
    """In file order."""

    @property
    def choices(self) -> frozenset[str]:
        """Every choice that some section asks for."""
        return frozenset().union(*(section.when for section in self.sections))

    @property
    def slots(self) -> frozenset[str]:
        """Every slot of every section."""
        return frozenset().union(*(section.slots for section in self.sections))

    def render(self, choices: Collection[str], slots: Mapping[str, str]) -> Messages:
        """Return both messages with the chosen sections and the slots filled.

        Raises:
            PromptError: A choice that no section knows, or a slot that is missing, that the
                file does not have, or that the chosen sections do not use.
        """
        chosen = set(choices)
        sent = [item for item in self.sections if not item.when or item.when & chosen]
        wanted = frozenset[str]().union(*(item.slots for item in sent))
        self._check(chosen, wanted, frozenset(slots))
        return Messages(
            *(
                _SLOT.sub(
                    lambda match: slots[match[1]],
                    "".join(item.text for item in sent if item.part == part),
                ).strip()
                for part in _PARTS
            )
        )

    def _check(self, chosen: set[str], wanted: frozenset[str], given: frozenset[str]) -> None:
        """Raise ``PromptError`` naming everything that does not fit."""
        faults = [
            f"{what} {', '.join(sorted(names))}"
            for what, names in (
                ("unknown choice", chosen - self.choices),
                ("unknown slot", given - self.slots),
                ("unused slot", (given & self.slots) - wanted),
                ("missing slot", wanted - given),
            )
            if names
        ]
        if faults:
            raise PromptError(f"prompt {self.name!r}: {'; '.join(faults)}")


def load_prompt(name: str) -> Prompt:
    """Return the bundled prompt ``name``; raise ``PromptError`` when there is none."""
    folder = files("prompts")
    if _NAME.fullmatch(name):
        path = folder.joinpath(f"{name}.md")
        if path.is_file():
            return parse_prompt(name, path.read_bytes())
    known = sorted(
        item.name.removesuffix(".md") for item in folder.iterdir() if item.name.endswith(".md")
    )
    raise PromptError(f"there is no prompt {name!r}", hint=f"Known prompts: {', '.join(known)}.")


def parse_prompt(name: str, content: bytes) -> Prompt:
    """Return the prompt that the bytes of a file hold; raise ``PromptError`` on a bad mark."""
    sections = _sections(name, content.decode("utf-8"))
    for section in sections:
        rest = _SLOT.sub("", section.text)
        if "{{" in rest or "}}" in rest:
            raise PromptError(f"prompt {name!r}: braces that are no slot in part {section.part}")
    digest = hashlib.sha256(content).hexdigest()[:ID_DIGITS]
    return Prompt(name, digest, sections)


def _sections(name: str, content: str) -> tuple[Section, ...]:
    """Cut the content of a prompt file at its marks."""
    found: list[Section] = []
    begun: list[str] = []
    when: frozenset[str] = frozenset()
    buffer: list[str] = []

    def flush() -> None:
        if begun and buffer:
            text = "".join(buffer)
            found.append(Section(begun[-1], when, text, frozenset(_SLOT.findall(text))))
        buffer.clear()

    for line in content.splitlines(keepends=True):
        mark = _MARK.fullmatch(line)
        if mark is None:
            buffer.append(line)
            continue
        flush()
        if mark[1] == "part":
            begun.append(mark[2])
        if (mark[3] is None) == bool(when):
            raise PromptError(f"prompt {name!r}: {line.strip()} is out of place")
        when = frozenset(mark[2].split()) if mark[1] == "when" else frozenset()
    flush()
    if when or tuple(begun) != _PARTS:
        raise PromptError(f"prompt {name!r}: needs the parts system and user, and every end")
    return tuple(found)
