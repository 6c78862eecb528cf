"""Load a prompt file, choose its sections and fill its slots.

A prompt file is Markdown. Lines of the form ``<!-- ... -->`` alone on a line structure it:

- ``<!-- part: system -->`` and ``<!-- part: user -->`` begin the two messages, in this order;
  what stands before the first is a note to the reader and is never sent. Further parts may
  follow: pieces that fill a slot of the messages, once or several times.
- ``<!-- when: units quotes -->`` begins a section that is sent when any of the named choices
  is made, ``<!-- when: failed unknown & full -->`` one that is sent when, besides, a choice after
  the ``&`` is made; ``<!-- end -->`` ends it. Sections do not nest.

``{{name}}`` is a slot. Slots are filled in one pass after the sections are chosen, so text
that is filled in is never read again: braces and marks inside it stay what they are.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from dca.domain.errors import PromptError
from dca.domain.rollout import ID_DIGITS

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MARK = re.compile(r"<!-- (?:(part|when): ([a-z0-9 &-]+)|(end)) -->\n?")
_SLOT = re.compile(r"\{\{([a-z_]+)\}\}")
_MESSAGES = ("system", "user")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a prompt that is sent whole or not at all."""

    part: str
    """``system``, ``user`` or the name of a further part."""
    when: tuple[frozenset[str], ...]
    """Sent when one choice of each set is made; empty: always sent."""
    text: str
    """Markdown with slots."""
    slots: frozenset[str]
    """The names of the slots in ``text``."""

    def sent(self, chosen: Collection[str]) -> bool:
        """Tell whether the section is sent when these choices are made."""
        return all(not names.isdisjoint(chosen) for names in self.when)


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

    def __hash__(self) -> int:
        """Hash the digest: equal bytes make equal sections."""
        return hash((self.name, self.digest))

    @property
    def choices(self) -> frozenset[str]:
        """Every choice that some section asks for."""
        return frozenset().union(*(names for item in self.sections for names in item.when))

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
        system, user = _plan(self, _MESSAGES, frozenset(choices), frozenset(slots))
        return Messages(
            _filled(system, tuple([slots[name] for name in system[1::2]])), _fill(user, slots)
        )

    def render_part(self, part: str, choices: Collection[str], slots: Mapping[str, str]) -> str:
        """Return the further part ``part``, with choices and slots as in ``render``."""
        (pieces,) = _plan(self, (part,), frozenset(choices), frozenset(slots))
        return _fill(pieces, slots)

    def plan(
        self, parts: Collection[str], chosen: frozenset[str], given: frozenset[str]
    ) -> "tuple[_Pieces, ...]":
        """Return the parts, cut at the slots; raises as ``render``."""
        sent = [item for item in self.sections if item.part in parts and item.sent(chosen)]
        wanted = frozenset[str]().union(*(item.slots for item in sent))
        self._check(chosen, wanted, given)
        return tuple(
            tuple(_SLOT.split("".join(item.text for item in sent if item.part == part)))
            for part in parts
        )

    def _check(
        self, chosen: frozenset[str], wanted: frozenset[str], given: frozenset[str]
    ) -> None:
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


_Pieces = tuple[str, ...]
"""Text and names of slots in turn, beginning and ending with text."""


@lru_cache(maxsize=512)
def _plan(
    prompt: Prompt, parts: tuple[str, ...], chosen: frozenset[str], given: frozenset[str]
) -> tuple[_Pieces, ...]:
    """Return ``prompt.plan``: a run makes a handful of choices a million times."""
    return prompt.plan(parts, chosen, given)


def _fill(pieces: _Pieces, slots: Mapping[str, str]) -> str:
    """Return one part with its slots filled; what is filled in is not read again."""
    filled = list(pieces)
    filled[1::2] = [slots[name] for name in pieces[1::2]]
    return "".join(filled).strip()


@lru_cache(maxsize=64)
def _filled(pieces: _Pieces, values: tuple[str, ...]) -> str:
    """Return a part that is the same for many rollouts: the very same text, made once."""
    return _fill(pieces, dict(zip(pieces[1::2], values, strict=True)))


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
    when: tuple[frozenset[str], ...] = ()
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
        if (mark[3] is None) == bool(when) or not all(_condition(mark[2] or "end")):
            raise PromptError(f"prompt {name!r}: {line.strip()} is out of place")
        when = _condition(mark[2]) if mark[1] == "when" else ()
    flush()
    if when or tuple(begun[:2]) != _MESSAGES or len(set(begun)) < len(begun):
        raise PromptError(f"prompt {name!r}: needs the parts system and user, and every end")
    return tuple(found)


def _condition(words: str) -> tuple[frozenset[str], ...]:
    """Return the sets of choices that a ``when`` names."""
    return tuple(frozenset(names.split()) for names in words.split("&"))
