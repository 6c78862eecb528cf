"""Small models that transformers runs in this process: no server, no network, nothing compiled.

Needs the extra ``train``, which is imported when the first question comes::

    [reviewers.small]
    kind = "transformers"
    model = "HuggingFaceTB/SmolLM2-1.7B-Instruct"
    family = "smollm"
    engine = { dtype = "bfloat16" }

Nothing holds replies to the schema: they rest on the words of the question and on the repair turn,
so a weak model abstains often. A batch is as slow as its longest reply; for more than a few
hundred reviews take vLLM.
"""

import gc
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dca.domain.errors import ReviewerUnavailable
from dca.domain.review import ReviewerInfo, Usage
from reviewers.calling import Calling
from reviewers.exchange import Ended, Reply
from reviewers.local_model import Job, load_library, shared_model
from reviewers.local_reviewer import LocalReviewer
from reviewers.question import Asking

BATCH = 8
"""Questions that are answered together at most."""
CHANGE_ANSWERS = frozenset(("dtype", "revision"))
"""Arguments that make another reviewer; the others are about speed and memory."""


def transformers_reviewer(
    name: str,
    model: str,
    *,
    family: str = "",
    asking: Asking | None = None,
    calling: Calling | None = None,
    engine: Mapping[str, object] | None = None,
    batch: int = BATCH,
) -> LocalReviewer:
    """Return a model that transformers runs in this process; nothing is loaded or imported.

    Args:
        name: Name in the configuration, unique in a panel.
        model: Folder of the checkpoint, or its name on the hub.
        family: Base model; by default ``model``.
        asking: How the model is asked.
        calling: The longest reply and the temperature; ``extra`` are arguments of ``generate``.
            What is not set is as in the checkpoint's ``generation_config.json``.
        engine: ``device`` (default: an accelerator when there is one), and arguments of
            ``from_pretrained`` as transformers spells them.
        batch: Questions that are answered together at most, >= 1.
    """
    arguments = dict(engine or {})
    known = {key: value for key, value in arguments.items() if key in CHANGE_ANSWERS}
    key = json.dumps(["transformers", model, arguments, batch], sort_keys=True)
    return LocalReviewer(
        ReviewerInfo(name, "transformers", family or model, model),
        shared_model(key, name, lambda: TransformersEngine(model, arguments, batch)),
        asking=asking or Asking(),
        calling=calling or Calling(),
        settings={"engine": known} if known else {},
    )


class TransformersEngine:
    """One model and its tokenizer; answers batch after batch."""

    def __init__(self, model: str, arguments: Mapping[str, object], batch: int) -> None:
        """Load the model.

        Raises:
            MissingExtra: transformers or torch is not installed.
        """
        self._torch: Any = load_library("torch", "train")
        library: Any = load_library("transformers", "train")
        given = dict(arguments)
        device = str(given.pop("device", None) or _device(self._torch))
        shared = {key: given[key] for key in ("revision", "trust_remote_code") if key in given}
        self._tokenizer: Any = library.AutoTokenizer.from_pretrained(
            model, padding_side="left", **shared
        )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        loaded: Any = library.AutoModelForCausalLM.from_pretrained(model, **given)
        self._model: Any = loaded.to(device).eval()
        self._context: int = self._model.config.max_position_embeddings
        self._ends = _ends(self._model, self._tokenizer)
        self._batch = batch
        self._waiting: list[Job] = []

    @property
    def busy(self) -> bool:
        """True while any question waits."""
        return bool(self._waiting)

    def take(self, jobs: Sequence[Job]) -> None:
        """Keep questions for the batches to come."""
        self._waiting += jobs

    def step(self) -> None:
        """Answer one batch: the first that wait and are called in the same way."""
        waiting = [job for job in self._waiting if not job.gone]
        batch = [job for job in waiting if job.calling == waiting[0].calling][: self._batch]
        chosen = set(batch)
        self._waiting = [job for job in waiting if job not in chosen]
        asked = [(job, ids) for job in batch if (ids := self._ids(job))]
        if asked:
            self._answer([job for job, _ in asked], [ids for _, ids in asked])

    def _ids(self, job: Job) -> list[int]:
        """Return the tokens of one question; none, and the job is refused, if they do not fit."""
        question = job.question
        turns = [{"role": "system", "content": question.system}]
        turns += [{"role": turn.role, "content": turn.text} for turn in question.turns]
        ids: list[int] = self._tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, enable_thinking=False, return_dict=False
        )
        if len(ids) < self._context:
            return ids
        fault = f"the question has {len(ids):,} tokens, and the model takes {self._context:,}"
        job.refuse(ReviewerUnavailable(f"{fault} with the reply"))
        return []

    def _answer(self, jobs: Sequence[Job], prompts: Sequence[list[int]]) -> None:
        """Generate the replies of one batch."""
        torch = self._torch
        padded = self._tokenizer.pad({"input_ids": list(prompts)}, return_tensors="pt")
        width: int = padded["input_ids"].shape[1]
        calling = jobs[0].calling

        def abandoned(ids: Any, *_: object, **__: object) -> Any:  # noqa: ANN401 - tensors
            return torch.full((len(ids),), all(job.gone for job in jobs), device=ids.device)

        with torch.inference_mode():
            output: Any = self._model.generate(
                **padded.to(self._model.device),
                **_sampling(calling),
                max_new_tokens=min(calling.max_tokens, self._context - width),
                pad_token_id=self._tokenizer.pad_token_id,
                stopping_criteria=[abandoned],
            )
        for job, prompt, row in zip(jobs, prompts, output[:, width:].tolist(), strict=True):
            job.answer(self._reply(len(prompt), row))

    def _reply(self, asked: int, row: list[int]) -> Reply:
        """Return one reply from a row of new tokens, which is padded after its end."""
        end = next((at for at, token in enumerate(row) if token in self._ends), None)
        text: str = self._tokenizer.decode(row[:end], skip_special_tokens=True)
        usage = Usage(input_tokens=asked, output_tokens=len(row) if end is None else end + 1)
        if end is None:
            return Reply(text, Ended.TRUNCATED, "length", usage)
        return Reply(text, Ended.COMPLETE, "stop", usage)

    def close(self) -> None:
        """Give the memory back."""
        del self._model
        gc.collect()
        if self._torch.cuda.is_available():
            self._torch.cuda.empty_cache()


def _sampling(calling: Calling) -> dict[str, object]:
    """Return the arguments of ``generate`` that choose the next token."""
    given = dict(calling.extra)
    if calling.temperature is None:
        return given
    if calling.temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, **given}
    return {"do_sample": True, "temperature": calling.temperature, **given}


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:  # noqa: ANN401 - classes of transformers
    """Return the tokens at which a reply ends."""
    said = model.generation_config.eos_token_id
    listed: list[int] = [said] if isinstance(said, int) else list(said or ())
    return frozenset([*listed, tokenizer.eos_token_id])


def _device(torch: Any) -> str:  # noqa: ANN401 - a module
    """Return the accelerator, when there is one."""
    accelerator = torch.accelerator
    return str(accelerator.current_accelerator()) if accelerator.is_available() else "cpu"
