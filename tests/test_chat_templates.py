"""Prompts in the chat template of a model."""

import json
import sys
from pathlib import Path

import pytest

from dca.domain.errors import MissingExtra, TokenError
from dca.domain.rollout import Message
from tests.tokenizer_examples import MODELS
from training.vocabulary import FastTokenizer


def chat_folder(tmp_path: Path, config: dict[str, object], template: str = "") -> FastTokenizer:
    MODELS["byte-level"].save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if template:
        (tmp_path / "chat_template.jinja").write_text(template)
    return FastTokenizer.load(tmp_path)


TEMPLATE = (
    "{%- for m in messages %}{% generation %}{{ m.role }}|{{ m.content }}{{ eos_token }}"
    "{% endgeneration %}\n{% endfor %}{% if add_generation_prompt %}assistant|{% endif %}"
)
RENDERED = "user|2+2?<|end|>\nassistant|"


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ({"eos_token": "<|end|>", "chat_template": TEMPLATE}, ""),
        ({"eos_token": {"content": "<|end|>"}, "chat_template": "unused"}, TEMPLATE),
        (
            {
                "eos_token": "<|end|>",
                "chat_template": [
                    {"name": "tool_use", "template": "no"},
                    {"name": "default", "template": TEMPLATE},
                ],
            },
            "",
        ),
    ],
)
def test_prompts_are_rendered_with_the_chat_template(tmp_path, config, file) -> None:
    tokenizer = chat_folder(tmp_path, config, file)

    ids = tokenizer.encode_prompt([Message("user", "2+2?")])

    assert MODELS["byte-level"].decode(ids.tolist(), skip_special_tokens=False) == RENDERED
    assert MODELS["byte-level"].token_to_id("<|end|>") in ids.tolist()


def test_without_a_chat_template_prompts_are_rendered_plainly(tmp_path) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": [{"name": "rag", "template": "x"}]})

    ids = tokenizer.encode_prompt([Message("user", "hi")])

    assert MODELS["byte-level"].decode(ids.tolist()) == "user: hi\n\nassistant: "


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ raise_exception('no user turn') }}", "no user turn"),
        ("{% if %}", "the chat template is broken"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_chat_template_that_fails_is_an_error_of_the_tokens(tmp_path, template, problem) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": template})

    with pytest.raises(TokenError, match=problem):
        tokenizer.encode_prompt([Message("user", "hi")])


def test_a_chat_template_may_write_json_without_html_escapes(tmp_path) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": "{{ messages[0].content | tojson }}"})

    ids = tokenizer.encode_prompt([Message("user", "<é>")])

    assert MODELS["byte-level"].decode(ids.tolist()) == '"<é>"'


@pytest.mark.parametrize("package", ["jinja2", "tokenizers"])
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, package) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": TEMPLATE})
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks a package as missing

    with pytest.raises(MissingExtra, match=package) as caught:
        tokenizer.encode_prompt([Message("user", "hi")])
    assert "[train]" in str(caught.value.hint)
