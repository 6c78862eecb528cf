"""The kinds of reviewers that ``[reviewers.NAME]`` can describe, and which keys fit which."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from reviewers.examples import MOST_EXAMPLES

NAME_OF_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
"""Environment variables in capitals only: every provider's key has small letters or dashes."""
LONGEST_WORD = 24
"""A longer name without an underscore is a key pasted by mistake."""


class Table(BaseModel):
    """A table of ``dca.toml``: frozen, unknown keys refused, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def variable_name(name: str) -> str:
    """Return ``name`` when it can name an environment variable; never repeat it in the error."""
    is_word = NAME_OF_VARIABLE.fullmatch(name) is not None
    if not is_word or ("_" not in name and len(name) > LONGEST_WORD):
        raise ValueError(
            "must be the NAME of an environment variable in capitals, never a key itself"
        )
    return name


def server_url(url: str) -> str:
    """Return ``url`` when it is an http(s) address without a user name or password."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a server")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password; name the key with api_key_env")
    return url


VariableName = Annotated[str, AfterValidator(variable_name)]
ServerUrl = Annotated[str, AfterValidator(server_url)]
Word = Annotated[str, Field(min_length=1)]
Persona = Literal["verifier", "teacher", "skeptic", "author"]
Rule = Literal["arithmetic", "dataflow", "revision", "novelty"]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RulesReviewer(Table):
    """A deterministic rule that reads the text: no key, no network."""

    kind: Literal["rules"] = "rules"
    rule: Rule
    """Which rule."""


class PriceSettings(Table):
    """``price = {input = ..., output = ...}``: US dollars for a million tokens."""

    input: Dollars
    """Input that the provider's cache does not hold."""
    output: Dollars
    """Output, hidden reasoning included."""
    cached_input: Dollars | None = None
    """Input read from the provider's cache; not set: as other input."""
    cache_write: Dollars | None = None
    """Input written to the provider's cache; not set: as other input."""
    batch: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on all of these in the provider's batch API."""


def price_or_free(value: object) -> object:
    """Return what ``price`` says; one message for whatever is wrong with it."""
    if value == FREE_OF_CHARGE or isinstance(value, PriceSettings):
        return value
    if not isinstance(value, dict):
        # Pydantic reads ValueError only.
        message = 'must be "free" or {input = ..., output = ...} in dollars a million tokens'
        raise ValueError(message)  # noqa: TRY004 - see above
    try:
        return PriceSettings.model_validate(value)
    except ValidationError as error:
        faults = (f"{item['loc'][0]}: {item['msg']}" for item in error.errors(include_url=False))
        raise ValueError("; ".join(faults)) from error


FREE_OF_CHARGE = "free"
UserPrice = Annotated[PriceSettings | Literal["free"], BeforeValidator(price_or_free)]


class AskedReviewer(Table):
    """What every language model can be told, wherever it runs."""

    model: Word
    """Model name, as the server knows it. In this process: a name on the hub, or a folder, which
    begins with ``/``, or with ``.`` beside the file that names it."""
    protocol: Literal["units", "quotes"] = "units"
    """How it marks steps: ranges of numbered units, or quotes of the text."""
    outcome: Literal["aware", "blind"] = "aware"
    """Whether it is told the reward and the reference answer."""
    style: Literal["full", "strict", "cheap"] = "full"
    """How thoroughly it works: with reasons and confidences; besides, recomputing everything and
    giving less credit in doubt; or labels, links and verdict only, for far fewer tokens."""
    persona: Persona | None = None
    """What it attends to with the most care, so that reviewers of a panel differ."""
    examples: Annotated[int, Field(ge=0, le=MOST_EXAMPLES)] = 0
    """Worked examples that it is shown; they use the labels of ``contribution-v1``."""
    rollouts_per_request: Annotated[int, Field(ge=1, le=64)] = 1
    """Most rollouts of one problem that one request shows; ``max_output_tokens`` is for all of
    their reviews."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature; left out of the request when not set."""
    max_output_tokens: Annotated[int, Field(ge=1)] = 16_000
    """Longest reply, reasoning included."""
    context_tokens: Annotated[int, Field(ge=2_000)] | None = None
    """Tokens that the model takes, question and reply together: what is longer is shown in
    overlapping windows. Not set: everything is sent whole."""

    @field_validator("context_tokens")
    @classmethod
    def _replies_fit(cls, tokens: int | None, info: ValidationInfo) -> int | None:
        """Refuse a context that the longest reply fills."""
        longest = info.data.get("max_output_tokens", 0)
        if tokens is not None and tokens <= longest:
            raise ValueError(f"leaves no room beside max_output_tokens = {longest}")
        return tokens


class ModelReviewer(AskedReviewer):
    """What every language model behind an address can be told."""

    effort: Word | None = None
    """Reasoning effort in the provider's words; left out of the request when not set."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds for one request."""
    retries: Annotated[int, Field(ge=0, le=20)] = 7
    """Further tries after a fault; waiting for a rate limit is no try."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Most requests to this model in flight; not set: ``[review] concurrency``."""
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """A cap of your own; the provider's limits are read from its answers."""
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    """The same for tokens, input and output together."""
    extra: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Further fields of the request, as the provider spells them."""
    price: UserPrice | None = None
    """Dollars for a million tokens, before the price table; ``free``: a server of your own."""


class OpenAIReviewer(ModelReviewer):
    """A model of OpenAI."""

    kind: Literal["openai"] = "openai"
    family: Word = "openai"
    """Reviewers of one family count as partly the same voice."""
    api: Literal["chat", "responses"] = "chat"
    """Which of the two: chat completions or responses."""
    api_key_env: VariableName = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key."""
    base_url: ServerUrl | None = None
    """Another address, for a gateway."""
    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    """What the server is told to hold the reply to."""


class AnthropicReviewer(ModelReviewer):
    """A model of Anthropic."""

    kind: Literal["anthropic"] = "anthropic"
    family: Word = "anthropic"
    """Reviewers of one family count as partly the same voice."""
    api_key_env: VariableName = "ANTHROPIC_API_KEY"
    """Name of the environment variable that holds the key."""
    base_url: ServerUrl | None = None
    """Another address, for a gateway."""
    response_format: Literal["json_schema", "none"] = "json_schema"
    """What the server is told to hold the reply to."""


class CompatibleReviewer(ModelReviewer):
    """Any server that speaks OpenAI's chat protocol: vLLM, SGLang, llama.cpp, gateways."""

    kind: Literal["openai-compatible"] = "openai-compatible"
    base_url: ServerUrl
    """Address up to and including ``/v1``."""
    family: Word
    """Reviewers of one family count as partly the same voice: name the base model."""
    api: Literal["chat", "responses"] = "chat"
    """Which of the two: chat completions or responses."""
    api_key_env: VariableName | None = None
    """Name of the environment variable that holds the key; not set: no key is sent."""
    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    """What the server is told to hold the reply to."""


class ReplayReviewer(Table):
    """Answers recorded earlier, read from a file: no network."""

    kind: Literal["replay"] = "replay"
    path: Word
    """File of recorded answers; relative to the directory of the file that names it."""
    family: Word | None = None
    """Reviewers of one family count as partly the same voice; not set: the reviewer's name."""


class VllmEngine(Table):
    """``engine = {...}`` of a model that vLLM runs: arguments of ``vllm.LLM`` under its names."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    """Numbers of the weights; not set: as in the checkpoint."""
    quantization: Word | None = None
    """Method of quantization; not set: as in the checkpoint."""
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    """Tokens of question and reply together; not set: all that the model takes."""
    revision: Word | None = None
    """Branch, tag or commit on the hub."""
    tokenizer: Word | None = None
    """Another tokenizer than the checkpoint's."""
    chat_template: Word | None = None
    """Another chat template than the tokenizer's: the template, or a file."""
    trust_remote_code: bool | None = None
    """Run code that comes with the checkpoint."""
    tensor_parallel_size: Annotated[int, Field(ge=1)] | None = None
    """GPUs that share each layer."""
    pipeline_parallel_size: Annotated[int, Field(ge=1)] | None = None
    """GPUs that share the layers one after the other."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    """Part of the GPU's memory that vLLM may take."""
    kv_cache_memory_bytes: Annotated[int, Field(ge=1)] | None = None
    """Size of the cache, in the place of ``gpu_memory_utilization``."""
    cpu_offload_gb: Annotated[float, Field(ge=0)] | None = None
    """Weights that are kept in main memory, in GiB for each GPU."""
    max_num_seqs: Annotated[int, Field(ge=1)] | None = None
    """Replies that are written at once; the panel's ``concurrency`` bounds them too."""
    max_num_batched_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens of one step."""
    enable_prefix_caching: bool | None = None
    """Keep what questions have in common."""
    enable_chunked_prefill: bool | None = None
    """Read long questions in parts; to be switched off for ``seed`` on a CPU."""
    enforce_eager: bool | None = None
    """Compile nothing: a quick start and slower replies."""
    more: dict[str, object] = Field(default_factory=dict)
    """Further arguments of ``vllm.LLM``, checked by vLLM when the model is loaded."""


class VllmReviewer(AskedReviewer):
    """A model that vLLM runs in this process; needs the extra ``vllm``."""

    kind: Literal["vllm"] = "vllm"
    family: Word
    """Reviewers of one family count as partly the same voice: name the base model."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Smallest probability mass that tokens are drawn from; not set: as in the checkpoint."""
    seed: int | None = None
    """Seed of each reply."""
    grammar: Literal["guidance", "xgrammar"] = "guidance"
    """What holds replies to the schema."""
    engine: VllmEngine = VllmEngine()
    """How vLLM runs the model."""


class TransformersEngine(Table):
    """``engine = {...}`` of a model that transformers runs."""

    device: Word | None = None
    """``cpu``, ``cuda:1`` and the like; not set: an accelerator when there is one."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    """Numbers of the weights; not set: as in the checkpoint."""
    revision: Word | None = None
    """Branch, tag or commit on the hub."""
    trust_remote_code: bool | None = None
    """Run code that comes with the checkpoint."""


class TransformersReviewer(AskedReviewer):
    """A small model that transformers runs in this process; needs the extra ``train``."""

    kind: Literal["transformers"] = "transformers"
    family: Word
    """Reviewers of one family count as partly the same voice: name the base model."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Questions that are answered together at most."""
    engine: TransformersEngine = TransformersEngine()
    """How transformers runs the model."""


class HumanReviewer(Table):
    """A person, who answers on sheets: ``dca panel sheet`` and ``dca panel take``."""

    kind: Literal["human"] = "human"
    family: Word | None = None
    """The person; two reviewers of one family count as partly the same voice. Not set: the
    reviewer's name."""
    outcome: Literal["aware", "blind"] = "aware"
    """Whether the sheets tell the reward and the reference answer."""


ReviewerConfig = Annotated[
    RulesReviewer
    | OpenAIReviewer
    | AnthropicReviewer
    | CompatibleReviewer
    | VllmReviewer
    | TransformersReviewer
    | ReplayReviewer
    | HumanReviewer,
    Field(discriminator="kind"),
]
"""One reviewer; ``kind`` decides which other keys there are."""

KINDS: dict[str, type[Table]] = {
    "rules": RulesReviewer,
    "openai": OpenAIReviewer,
    "anthropic": AnthropicReviewer,
    "openai-compatible": CompatibleReviewer,
    "vllm": VllmReviewer,
    "transformers": TransformersReviewer,
    "replay": ReplayReviewer,
    "human": HumanReviewer,
}

OFFLINE_RULES: tuple[Rule, ...] = ("arithmetic", "dataflow", "revision", "novelty")
"""Reviewers that exist without configuration, each under the name of its rule."""
