"""Models that vLLM runs in this process: no server, no network, replies held to the schema.

Needs the extra ``vllm``, which is imported when the first question comes::

    [reviewers.local]
    kind = "vllm"
    model = "Qwen/Qwen3-8B"          # a folder, or a name on the Hugging Face hub
    family = "qwen"
    engine = { dtype = "bfloat16", max_model_len = 32768 }

    [review]
    concurrency = 256                # the panel's bound is the batch's bound

The panel's ``concurrency`` decides how many questions are with the model at once; vLLM batches
them continuously, so a long reply holds no other up. Questions begin with the same instructions,
which vLLM keeps in its prefix cache. Thinking is off, because the grammar begins with the first
token of the reply.
"""

import gc
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from dca.domain.errors import ReviewerUnavailable
from dca.domain.review import ReviewerInfo, Usage
from reviewers.calling import Calling
from reviewers.exchange import Ended, Reply
from reviewers.local_model import Job, in_short, load_library, shared_model
from reviewers.local_reviewer import LocalReviewer
from reviewers.question import Asking
from reviewers.schema import ReplyForm, reply_schema

Grammar = Literal["guidance", "xgrammar"]

CHANGE_ANSWERS = frozenset(
    (
        "dtype",
        "quantization",
        "max_model_len",
        "revision",
        "tokenizer",
        "tokenizer_revision",
        "chat_template",
        "hf_overrides",
    )
)
"""Arguments of ``vllm.LLM`` that make another reviewer; the others are about speed and memory."""
_ENDED = {"stop": Ended.COMPLETE, "length": Ended.TRUNCATED}
_NO_THINKING = {"enable_thinking": False}


def vllm_reviewer(
    name: str,
    model: str,
    *,
    family: str = "",
    asking: Asking | None = None,
    calling: Calling | None = None,
    engine: Mapping[str, object] | None = None,
    grammar: Grammar = "guidance",
) -> LocalReviewer:
    """Return a model that vLLM runs in this process; nothing is loaded or imported.

    Args:
        name: Name in the configuration, unique in a panel.
        model: Folder of the checkpoint, or its name on the hub.
        family: Base model; by default ``model``.
        asking: How the model is asked.
        calling: The longest reply and sampling; ``extra`` are fields of ``SamplingParams``. What
            is not set is as in the checkpoint's ``generation_config.json``.
        engine: Arguments of ``vllm.LLM`` as vLLM spells them; JSON values.
        grammar: What holds replies to the schema.
    """
    arguments = dict(engine or {})
    known = {key: value for key, value in arguments.items() if key in CHANGE_ANSWERS}
    key = json.dumps(["vllm", model, arguments, grammar], sort_keys=True)
    return LocalReviewer(
        ReviewerInfo(name, "vllm", family or model, model),
        shared_model(key, name, lambda: VllmEngine(model, arguments, grammar)),
        asking=asking or Asking(),
        calling=calling or Calling(),
        settings={"grammar": grammar, **({"engine": known} if known else {})},
    )


class VllmEngine:
    """One ``vllm.LLM``, stepped by hand so that questions join and leave at any time."""

    def __init__(self, model: str, arguments: Mapping[str, object], grammar: Grammar) -> None:
        """Load the model.

        Raises:
            MissingExtra: vLLM is not installed.
        """
        # Before the import, which reads them: no figures of use are sent, and only faults are
        # written where progress is shown.
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        vllm: Any = load_library("vllm", "vllm")
        self._sampling: Any = vllm.SamplingParams
        self._structured: Any = load_library(
            "vllm.sampling_params", "vllm"
        ).StructuredOutputsParams
        self._refusal: Any = load_library("vllm.exceptions", "vllm").VLLMClientError
        held = {"backend": grammar, "disable_any_whitespace": True}
        quiet = {"use_tqdm_on_load": False}
        self._llm: Any = vllm.LLM(
            model, **{**quiet, "structured_outputs_config": held, **arguments}
        )
        usual: Any = self._llm.get_default_sampling_params()
        self._usual = {name: getattr(usual, name) for name in _USUAL}
        self._running: dict[str, Job] = {}

    @property
    def busy(self) -> bool:
        """True while any question is with the model."""
        return bool(self._running)

    def take(self, jobs: Sequence[Job]) -> None:
        """Give questions to vLLM; one that is too long is refused by itself."""
        for job in jobs:
            try:
                self._running[self._add(job)] = job
            except (ValueError, self._refusal) as error:
                job.refuse(ReviewerUnavailable(in_short(error)))

    def _add(self, job: Job) -> str:
        """Give one question to vLLM and return its number there."""
        question = job.question
        messages = [{"role": "system", "content": question.system}]
        messages += [{"role": turn.role, "content": turn.text} for turn in question.turns]
        (key,) = self._llm.enqueue_chat(
            messages, self._params(job), use_tqdm=False, chat_template_kwargs=_NO_THINKING
        )
        return _number(key)

    def _params(self, job: Job) -> Any:  # noqa: ANN401 - a class of vLLM
        calling = job.calling
        given: dict[str, object] = {**self._usual, **calling.extra}
        if calling.temperature is not None:
            given["temperature"] = calling.temperature
        held = self._structured(json=_schema(job.question.form))
        return self._sampling(**given, max_tokens=calling.max_tokens, structured_outputs=held)

    def step(self) -> None:
        """Go one token further with everything."""
        engine: Any = self._llm.llm_engine
        gone = [key for key, job in self._running.items() if job.gone]
        if gone:
            engine.abort_request(gone)
            for key in gone:
                del self._running[key]
        if not self._running:
            return
        for output in engine.step():
            job = self._running.pop(_number(output.request_id), None) if output.finished else None
            if job is not None:
                job.answer(_reply(output))

    def close(self) -> None:
        """End vLLM's processes and give the memory back."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()
        load_library("vllm.distributed.parallel_state", "vllm").cleanup_dist_env_and_memory()


_USUAL = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""Fields of ``SamplingParams`` that a checkpoint's ``generation_config.json`` may set."""


def _number(key: str) -> str:
    """Return the number of a request: vLLM adds random letters to it inside."""
    return key.partition("-")[0]


@lru_cache(maxsize=256)
def _schema(form: ReplyForm) -> str:
    """Return the schema of a reply; the same text each time, so its grammar is compiled once."""
    return json.dumps(reply_schema(form, bounded=True))


def _reply(output: Any) -> Reply:  # noqa: ANN401 - a class of vLLM
    """Return what a model wrote."""
    (said,) = output.outputs
    ended = _ENDED.get(said.finish_reason, Ended.OTHER)
    usage = Usage(
        input_tokens=len(output.prompt_token_ids),
        output_tokens=len(said.token_ids),
        cached_tokens=output.num_cached_tokens,
    )
    return Reply(said.text, ended, str(said.finish_reason), usage)
