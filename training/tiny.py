"""A tiny causal model with its own tokenizer, built from texts alone, and sampling from a model.

Small enough to train on two cores in seconds; a real Hugging Face checkpoint in every respect.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)
from transformers.utils import logging

from dca.domain.rollout import Message
from training.vocabulary import FastTokenizer

END = "<|end|>"
PAD = "<|pad|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")


def build_tiny(
    texts: Iterable[str],
    folder: Path,
    *,
    vocabulary: int = 1024,
    width: int = 64,
    layers: int = 2,
    seed: int = 0,
) -> int:
    """Train a byte-level tokenizer on ``texts``, make a random model for it and save both.

    The same arguments give the same files.

    Args:
        texts: what the tokenizer learns from.
        folder: where the checkpoint goes.
        vocabulary: ids at most, above 262 (every byte and the control tokens).
        width: hidden size, a multiple of 4.
        layers: transformer layers.
        seed: seed of the weights.

    Returns:
        The number of parameters.
    """
    logging.disable_progress_bar()
    tokenizer = _tokenizer(texts, vocabulary)
    tokenizer.save_pretrained(str(folder))
    set_seed(seed)
    # Of this model type, because AutoTokenizer then reads tokenizer.json as it is.
    config = Olmo2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=cast("int", tokenizer.eos_token_id),
        pad_token_id=cast("int", tokenizer.pad_token_id),
    )
    model = Olmo2ForCausalLM(config)
    model.save_pretrained(str(folder))
    return sum(parameter.numel() for parameter in model.parameters())


def _tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD, *_ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = CHAT_TEMPLATE
    return fast


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled completion."""

    text: str
    """Without control tokens."""
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    """Up to and including the end token, when it came."""
    logprobs: tuple[float, ...]
    """Log-probability of each token at the sampling temperature."""


def sample(
    folder: Path,
    prompts: Sequence[Sequence[Message]],
    *,
    max_tokens: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[Sample]:
    """Load a checkpoint, full or of adapters, and sample one completion for each prompt.

    Args:
        folder: the checkpoint.
        prompts: messages of each prompt.
        max_tokens: longest completion.
        temperature: softmax temperature, > 0; nothing else shapes the distribution.
        seed: seed of the sampler; the same arguments give the same samples on the same machine.
    """
    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True)
    model.eval()
    set_seed(seed)
    tokenizer = FastTokenizer.load(folder)
    decoder = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    samples: list[Sample] = []
    for messages in prompts:
        prompt_ids = tokenizer.encode_prompt(messages).tolist()
        ids, logprobs = _generate(model, prompt_ids, max_tokens, temperature)
        text = cast("str", decoder.decode(ids, skip_special_tokens=True))
        samples.append(Sample(text, tuple(prompt_ids), tuple(ids), tuple(logprobs)))
    return samples


def _generate(
    model: Any,  # noqa: ANN401 - transformers gives no common type
    prompt_ids: list[int],
    max_tokens: int,
    temperature: float,
) -> tuple[list[int], list[float]]:
    prompt = torch.tensor([prompt_ids])
    output = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=max_tokens,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    ids: list[int] = output.sequences[0, len(prompt_ids) :].tolist()
    scores = torch.stack(output.scores, dim=1)[0].float()
    logp = torch.log_softmax(scores, dim=-1)[torch.arange(len(ids)), torch.tensor(ids)]
    return ids, logp.clamp(max=0).tolist()
