"""Prompt files: sections, slots, digests, and the words that are shipped."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.errors import PromptError
from prompts.load import load_prompt, parse_prompt
from prompts.words import load_persona, load_personas

FILE = b"""A note that is never sent {{

<!-- part: system -->
Be {{manner}}.
<!-- when: a b -->
Only a or b: {{detail}}.
<!-- end -->
Done.
<!-- part: user -->
<!-- when: b -->
B.
<!-- end -->
Text: {{text}}
"""


def prompt_of(content: bytes = FILE):
    return parse_prompt("sample", content)


def test_sections_are_chosen_and_slots_filled() -> None:
    sent = prompt_of().render({"a"}, {"manner": "kind", "detail": "yes", "text": "T"})

    assert sent.system == "Be kind.\nOnly a or b: yes.\nDone."
    assert sent.user == "Text: T"


def test_a_section_is_sent_when_any_of_its_choices_is_made() -> None:
    sent = prompt_of().render({"b"}, {"manner": "kind", "detail": "yes", "text": "T"})

    assert "Only a or b" in sent.system
    assert sent.user == "B.\nText: T"


@given(st.text())
def test_filled_in_text_is_never_read_as_a_slot_or_a_mark(text: str) -> None:
    hostile = f"{{{{manner}}}} <!-- end --> {text} {{{{text}}}}\n<!-- part: system -->\n{{0}} \\1"

    sent = prompt_of().render((), {"manner": hostile, "text": hostile})

    assert sent.user == f"Text: {hostile}".strip()
    assert sent.system == f"Be {hostile}.\nDone."


@pytest.mark.parametrize(
    ("choices", "slots", "message"),
    [
        ({"a"}, {"manner": "m", "text": "t"}, "missing slot detail"),
        ((), {"manner": "m", "text": "t", "detail": "d"}, "unused slot detail"),
        ((), {"manner": "m", "text": "t", "other": "o"}, "unknown slot other"),
        ({"z"}, {"manner": "m", "text": "t"}, "unknown choice z"),
    ],
)
def test_what_does_not_fit_is_named(choices, slots, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        prompt_of().render(choices, slots)


@pytest.mark.parametrize(
    "content",
    [
        b"<!-- part: system -->\nno user part\n",
        b"<!-- part: user -->\nx\n<!-- part: system -->\nwrong order\n",
        b"<!-- part: system -->\n<!-- when: a -->\nnever ends\n<!-- part: user -->\nx\n",
        b"<!-- part: system -->\n<!-- end -->\nx\n<!-- part: user -->\nx\n",
        b"<!-- part: system -->\n<!-- when: a -->\n<!-- when: b -->\nx\n<!-- end -->\n",
        b"<!-- part: system -->\nx\n<!-- part: user -->\n<!-- when: a -->\nx\n",
        b"<!-- part: system -->\n{{No Slot}}\n<!-- part: user -->\nx\n",
        b"<!-- part: system -->\nx\n<!-- part: user -->\n<!-- when: a & -->\nx\n<!-- end -->\n",
        b"<!-- part: system -->\nx\n<!-- part: user -->\nx\n<!-- part: user -->\nx\n",
    ],
)
def test_a_malformed_file_is_refused(content: bytes) -> None:
    with pytest.raises(PromptError, match="sample"):
        prompt_of(content)


def test_the_digest_is_that_of_the_bytes() -> None:
    path = Path(__file__).parent.parent / "prompts" / "segment-and-credit.md"

    digest = load_prompt("segment-and-credit").digest

    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()[:20]
    assert prompt_of(FILE + b" ").digest != prompt_of().digest


@pytest.mark.parametrize("name", ["absent", "../pyproject", "segment-and-credit.md", ""])
def test_an_unknown_prompt_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(PromptError) as caught:
        load_prompt(name)

    assert "segment-and-credit" in (caught.value.hint or "")


def test_a_section_can_ask_for_choices_of_several_sets() -> None:
    content = FILE.replace(b"when: a b", b"when: a b & c")
    slots = {"manner": "kind", "text": "T"}

    assert "Only" not in prompt_of(content).render({"a"}, slots).system
    assert "Only" not in prompt_of(content).render({"c"}, slots).system
    assert "Only" in prompt_of(content).render({"b", "c"}, slots | {"detail": "d"}).system


def test_a_further_part_is_rendered_by_itself() -> None:
    prompt = prompt_of(
        FILE + b"<!-- part: piece -->\n<!-- when: a -->\nA\n<!-- end -->\n{{bit}}\n"
    )

    assert prompt.render_part("piece", {"a"}, {"bit": "{{bit}}"}) == "A\n{{bit}}"
    assert prompt.render((), {"manner": "m", "text": "t"}).user == "Text: t"
    with pytest.raises(PromptError, match="missing slot bit"):
        prompt.render_part("piece", (), {})


def test_every_persona_says_what_to_attend_to_and_an_unknown_one_is_named() -> None:
    personas = load_personas()

    assert set(personas) == {"verifier", "teacher", "skeptic", "author"}
    for name, words in personas.items():
        assert load_persona(name) == words
        assert name in words
        assert "Attend above all to" in words
        assert "{{" not in words
        assert "\n" not in words
    with pytest.raises(PromptError) as caught:
        load_persona("oracle")
    assert "skeptic" in (caught.value.hint or "")
