"""A tiny model and rows sampled from it, for the tests of training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dca.domain.rollout import Message, Sampling
from training.rows import NO_LABEL, NeutralRow, Provenance
from training.tiny import Sample, build_tiny, sample
from training.tokens import align
from training.vocabulary import FastTokenizer

TEXTS = ["What is 2+3? 2+3=5 so the answer is 5.", "7*8=56. The answer is 56."] * 5
PROMPTS = [[Message("user", text)] for text in ("2+2?", "What is 7*8?", "3+4 is what?", "9-5?")]


def tiny_model(folder: Path, *, seed: int = 0) -> Path:
    build_tiny(TEXTS, folder, vocabulary=300, width=32, layers=2, seed=seed)
    return folder


def sampled_rows(
    model: Path, count: int = 8, *, max_tokens: int = 12, temperature: float = 1.0
) -> list[NeutralRow]:
    """Rows of alternating success and failure, of different lengths, weights all 1."""
    prompts = [PROMPTS[number % len(PROMPTS)] for number in range(count)]
    samples = sample(model, prompts, max_tokens=max_tokens, temperature=temperature)
    tokenizer = FastTokenizer.load(model)
    lengths = [max_tokens - number % 5 for number in range(count)]
    return [
        make_row(number, cut(drawn, length), tokenizer, temperature)
        for number, (drawn, length) in enumerate(zip(samples, lengths, strict=True))
    ]


def cut(drawn: Sample, length: int) -> Sample:
    return Sample("", drawn.prompt_ids, drawn.token_ids[:length], drawn.logprobs[:length])


def make_row(
    number: int, drawn: Sample, tokenizer: FastTokenizer, temperature: float = 1.0
) -> NeutralRow:
    count = len(drawn.token_ids)
    pieces = tokenizer.pieces(drawn.token_ids)
    text = pieces.data.tobytes().decode("utf-8", "replace")
    won = number % 2 == 0
    return NeutralRow(
        rollout_id=f"r{number}",
        group_id=f"g{number // 2}",
        task="math",
        step=0,
        model="tiny",
        prompt_ids=np.array(drawn.prompt_ids, np.int32),
        completion_ids=np.array(drawn.token_ids, np.int32),
        completion_mask=np.ones(count, np.bool_),
        offsets=align(text, pieces).offsets,
        logprobs=np.array(drawn.logprobs, np.float32),
        ref_logprobs=None,
        sampling=Sampling(temperature=temperature),
        reward=float(won),
        method="grpo",
        advantage=np.full(count, 1.0 if won else -1.0, np.float32),
        weight=np.ones(count, np.float32),
        credit_mask=np.ones(count, np.bool_),
        label=np.full(count, NO_LABEL, np.int8),
        span_id=np.full(count, NO_LABEL, np.int32),
        confidence=np.zeros(count, np.float32),
        completion=text,
        provenance=Provenance("1", "contribution-v1", (), "tiny", tokenizer.digest, True, "0"),
    )


def columns_of(row: NeutralRow) -> dict[str, Sequence[float]]:
    """A row's columns with numbers that differ at every token, for tests that must see each."""
    count = len(row)
    wave = np.sin(np.arange(count) + len(row.prompt_ids))
    return {
        "advantage": (row.advantage * (1 + 0.3 * wave)).astype(np.float32),
        "weight": (1 + 0.5 * wave).astype(np.float32),
        "logprobs": np.minimum(row.logprobs + 0.4 * wave, 0).astype(np.float32),
        "credit_mask": np.arange(count) % 3 != 1,
    }
