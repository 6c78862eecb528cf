"""A tiny random Qwen3 with a tokenizer of its own, for servers that want a checkpoint on disk.

It answers noise, but noise with a bias: every hidden state carries one constant channel, which the
output layer turns into a fixed preference for each token. Held to a grammar, the model then writes
short strings, small numbers and few steps, so most replies are reviews; free, it soon ends.
"""

import math
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, set_seed
from transformers.utils import logging

ROOT = Path(__file__).resolve().parent.parent
CONTEXT = 32_768
"""Tokens of prompt and reply together."""

_CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_BEGINNINGS = {
    '{"': 8.0,
    "[{": 8.0,
    ",": 6.0,
    "]": 6.0,
    "}": 6.0,
    '"': 5.0,
    "1": 4.5,
    "2": 3.0,
    "3": 1.0,
}
"""Logits above the rest of tokens that begin so; the first that fits."""
_ENDING = 7.5
"""Logit of the end of the turn above the rest."""
_VOCABULARY = 2048
_WIDTH = 64


def build(folder: Path) -> None:
    """Write the checkpoint; the same files each time."""
    logging.disable_progress_bar()
    tokenizer = _tokenizer(_texts())
    tokenizer.save_pretrained(str(folder))
    set_seed(0)
    model = Qwen3ForCausalLM(_config(tokenizer))
    _prefer(model, _bias(tokenizer))
    model.generation_config.do_sample = True
    model.save_pretrained(str(folder))


def _texts() -> Iterable[str]:
    """Return what the tokenizer learns from: the words that reviewers are asked with."""
    files = [
        *(ROOT / "prompts").glob("*.md"),
        ROOT / "README.md",
        ROOT / "dca/demo/rollouts.jsonl",
    ]
    return [file.read_text("utf-8") for file in sorted(files)]


def _tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    # Digits one by one, as Qwen has them.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[AddedToken(name, special=True) for name in _CONTROL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends)
    fast.chat_template = _TEMPLATE
    return fast


def _config(tokenizer: PreTrainedTokenizerFast) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,  # of the sizes that vLLM's attention on a CPU knows, the smallest
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _bias(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Return the preference for each token in logits."""
    bias = torch.zeros(len(tokenizer))
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        bias[token] = next((_BEGINNINGS[key] for key in _BEGINNINGS if text.startswith(key)), 0.0)
    bias[tokenizer.eos_token_id] = _ENDING
    return bias


@torch.no_grad()
def _prefer(model: Qwen3ForCausalLM, bias: torch.Tensor) -> None:
    """Make channel 0 constant and the output layer read ``bias`` from it."""
    strong = 100.0
    model.model.embed_tokens.weight[:, 0] = strong
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0
        layer.mlp.down_proj.weight[0] = 0
    # The norm divides by the root mean square, which channel 0 alone decides.
    model.lm_head.weight[:, 0] = bias / math.sqrt(_WIDTH)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
