"""Chat templates: a prompt's messages as the text that the policy was given."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

import msgspec

from dca.domain.errors import MissingExtra, TokenError
from dca.domain.rollout import Message

_TRAINING_MARKS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Marks for training masks, which change nothing in the rendered text."""
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A Jinja template and the control tokens that it names."""

    source: str
    specials: Mapping[str, str] = field(default_factory=dict[str, str])

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt up to where the assistant's turn begins.

        Raises:
            TokenError: the template refuses these messages or is broken.
            MissingExtra: Jinja is not installed.
        """
        render, fault = _jinja(self.source)
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return render(
                messages=turns,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self.specials,
            )
        except fault as error:
            raise TokenError(f"the chat template failed: {error}") from error


def load_chat_template(folder: Path) -> ChatTemplate | None:
    """Return the chat template of a model folder, ``None`` when it has none."""
    path = folder / "tokenizer_config.json"
    config = (
        msgspec.json.decode(path.read_bytes(), type=dict[str, object]) if path.is_file() else {}
    )
    specials = {name: text for name in _SPECIAL if (text := _token_text(config.get(name)))}
    alone = folder / "chat_template.jinja"
    source = alone.read_text("utf-8") if alone.is_file() else _default(config.get("chat_template"))
    return ChatTemplate(source, specials) if source else None


def _token_text(value: object) -> str:
    """Return a token given as text or as a record with ``content``; ``""`` for anything else."""
    if isinstance(value, dict):
        value = cast("dict[str, object]", value).get("content")
    return value if isinstance(value, str) else ""


def _default(value: object) -> str:
    """Return the template given as text or as a list of named ones; ``""`` when there is none."""
    if isinstance(value, list):
        named = cast("list[dict[str, str]]", value)
        return next((item["template"] for item in named if item.get("name") == "default"), "")
    return value if isinstance(value, str) else ""


def _jinja(source: str) -> tuple[Callable[..., str], type[Exception]]:
    """Return the compiled template's ``render`` and the error that it may raise."""
    try:
        import jinja2  # noqa: PLC0415 - comes with the train extra
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - the same
    except ImportError as error:
        raise MissingExtra(
            "chat templates need jinja2",
            hint="pip install '.[train]' in the project's folder",
        ) from error

    def refuse(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    # A template comes with a model and is not trusted: hence the sandbox.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    try:
        template = environment.from_string(_TRAINING_MARKS.sub("", source))
    except jinja2.TemplateError as error:
        raise TokenError(f"the chat template is broken: {error}") from error
    return partial(template.render, raise_exception=refuse), jinja2.TemplateError


def _to_json(value: object, indent: int | None = None) -> str:
    """Write JSON as Hugging Face's filter does: no HTML escapes."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
