"""Questions for the fault server in the form that reviewers send: shared by two test files."""

import functools
import json
from dataclasses import dataclass
from typing import Any

import anthropic
import openai

from benchmarks.fault_server.running import Served, Spawned
from dca.domain.labels import CONTRIBUTION_V1
from reviewers.parse import Parsed, parse_reply
from reviewers.schema import Outcome, ReplyForm, ReplyProtocol, reply_example, reply_schema
from reviewers.units import cut_units, number_units

UNITS = ReplyForm(ReplyProtocol.UNITS, Outcome.FAILED, CONTRIBUTION_V1)
QUOTES = ReplyForm(ReplyProtocol.QUOTES, Outcome.SUCCEEDED, CONTRIBUTION_V1)


RULES = "Judge each step by what it did for the final answer. " * 110
"""Six thousand characters: a prefix that providers cache."""


def story(number: int = 0) -> str:
    """Return a text of 30 sentences."""
    return " ".join(f"Then {n + number} and {n} make {2 * n + number}." for n in range(30))


@dataclass(frozen=True)
class Asked:
    system: str
    user: str


def ask(text: str, form: ReplyForm = UNITS) -> Asked:
    """Return the messages about ``text``."""
    units = cut_units(text)
    in_units = form.protocol is ReplyProtocol.UNITS
    labels = "\n".join(f"- `{item.key}`: {item.description}" for item in form.labels)
    shown = number_units(text, units) if in_units else text
    system = f"{RULES}\n\n{labels}\n\n{json.dumps(reply_example(form))}"
    problem = "How many are there?\n<reasoning-ff>\n[1] none\n</reasoning-ff>"
    fenced = f"<reasoning-0123abcd>\n{shown}\n</reasoning-0123abcd>"
    return Asked(system, f"{problem}\n\n{fenced}\n\nReview the reasoning above.")


def chat_body(text: str, form: ReplyForm = UNITS, **more: Any) -> dict[str, Any]:
    said = ask(text, form)
    named = {"name": "review", "schema": reply_schema(form, bounded=True), "strict": True}
    turns = [{"role": "system", "content": said.system}, {"role": "user", "content": said.user}]
    format_ = {"type": "json_schema", "json_schema": named}
    return {"model": "tiny", "messages": turns, "response_format": format_, **more}


def response_body(text: str, form: ReplyForm = UNITS, **more: Any) -> dict[str, Any]:
    said = ask(text, form)
    schema = reply_schema(form, bounded=True)
    format_ = {"type": "json_schema", "name": "review", "schema": schema, "strict": True}
    text_ = {"format": format_}
    return {
        "model": "tiny",
        "instructions": said.system,
        "input": said.user,
        "text": text_,
        **more,
    }


def message_body(text: str, form: ReplyForm = UNITS, **more: Any) -> dict[str, Any]:
    said = ask(text, form)
    schema = reply_schema(form, bounded=False)
    return {
        "model": "tiny",
        "max_tokens": 4096,
        "system": said.system,
        "messages": [{"role": "user", "content": said.user}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        **more,
    }


@functools.cache
def _openai() -> openai.OpenAI:
    # Building a client costs a quarter of a second: copies of one share its connections.
    return openai.OpenAI(api_key="sk-one", max_retries=0, timeout=5.0)


@functools.cache
def _anthropic() -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="sk-one", max_retries=0, timeout=5.0)


def openai_client(server: Served | Spawned, key: str = "sk-one") -> openai.OpenAI:
    return _openai().with_options(base_url=f"{server.url}/v1", api_key=key)


def anthropic_client(server: Served | Spawned, key: str = "sk-one") -> anthropic.Anthropic:
    return _anthropic().with_options(base_url=server.url, api_key=key)


def read(reply: str | None, text: str, form: ReplyForm = UNITS) -> Parsed:
    """Return the parts of a reply as the project reads them."""
    assert reply is not None
    return parse_reply(reply, text, form)
