"""Small tokenizers of the three families, trained on a few lines of text."""

import json

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from training.vocabulary import FastTokenizer

CORPUS = [
    "The bakery sold 12 + 30 = 42 loaves, so the answer is 42.",
    "Wait, that is wrong: 7 * 8 = 56, not 54. Let me check again.",
    "世界は広い。三加四等于七。 한국어 문장도 있다.",
    "שלום עולם، مرحبا بالعالم",
    "cafe\u0301 naïve Ångström 😀👩‍👩‍👧 \\frac{1}{2}",
]
UNKNOWN = "<unk>"


def byte_level() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    return tokenizer


def spaced() -> tokenizers.Tokenizer:
    """SentencePiece style as Llama's: ▁ for spaces, <0xE2> for bytes, one space stripped."""
    tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[],
        limit_alphabet=60,
        show_progress=False,
    )
    tokenizer.train_from_iterator([text.replace(" ", "▁") for text in CORPUS * 3], trainer)
    return lose_specials(tokenizer, "<0x")


def metaspace() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["</s>"], unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return tokenizer


def lose_specials(tokenizer: tokenizers.Tokenizer, prefix: str) -> tokenizers.Tokenizer:
    """Keep tokens in the model but not among the added ones, as SentencePiece exports do."""
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if not t["content"].startswith(prefix)]
    return tokenizers.Tokenizer.from_str(json.dumps(spec))


BUILDERS = {"byte-level": byte_level, "spaced": spaced, "metaspace": metaspace}
MODELS = {name: build() for name, build in BUILDERS.items()}
FAST = {name: FastTokenizer(name, model.to_str().encode()) for name, model in MODELS.items()}
