"""Vocabularies of Hugging Face tokenizers: what each id spells, in bytes.

Reads ``tokenizer.json``. Two families are byte-exact: byte-level BPE, whose tokens are bytes in
disguise, and SentencePiece style, whose ``▁`` is a space and whose ``<0xE2>`` is a byte.
"""

import copy
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from dca.domain.errors import MissingExtra, TokenError, UsageError
from dca.domain.rollout import ID_DIGITS, Message
from training.chat import ChatTemplate, load_chat_template
from training.tokens import Bools, Bytes, Ints, Pieces, Tokenizer, Utf8Bytes, render_plain

if TYPE_CHECKING:
    import tokenizers

_SPACE_MARK = "▁"
_Id = Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)]
"""An id; tables have a row for each up to the largest, and no vocabulary comes near the limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """What every id spells. V = largest id + 1."""

    data: Bytes
    """The bytes of all ids, one after the other."""
    starts: Ints
    """Where each id's bytes begin in ``data`` [V]."""
    lengths: Ints
    """Bytes of each id, -1 where there is no such id [V]."""
    special: Bools
    """True for control tokens [V]."""
    fallback: Bools
    """True for ids that stand for one byte [V]."""
    strips_lead: bool
    """True when decoding may drop the spaces that the first token starts with."""
    digest: str
    """Content hash of ``lengths`` and ``data``."""

    def pieces(self, ids: NDArray[np.int64]) -> Pieces:
        """Return the bytes of ``ids``; raise ``TokenError`` for an id that is not known."""
        unknown = (ids < 0) | (ids >= len(self.lengths))
        unknown |= self.lengths[np.where(unknown, 0, ids)] < 0
        if unknown.any():
            at = int(unknown.argmax())
            raise TokenError(
                f"token {at}: id {ids[at]} is not in the vocabulary",
                hint="check that tokenizer and rollouts belong together",
            )
        length_T = self.lengths[ids]
        ends_T = np.cumsum(length_T)
        within_N = np.arange(int(ends_T[-1]) if len(ends_T) else 0)
        from_N = np.repeat(self.starts[ids] - (ends_T - length_T), length_T) + within_N
        return Pieces(
            self.data[from_N], length_T, self.special[ids], self.fallback[ids], self.strips_lead
        )


class FastTokenizer:
    """A tokenizer of the ``tokenizers`` package, read from ``tokenizer.json``."""

    def __init__(self, name: str, spec: bytes, chat: ChatTemplate | None = None) -> None:
        """Take the content of a ``tokenizer.json``; ``FastTokenizer.load`` reads one."""
        self.name = name
        self.chat = chat
        self._spec = spec

    @classmethod
    def load(cls, path: Path) -> "FastTokenizer":
        """Read a model folder, or a ``tokenizer.json`` itself.

        Raises:
            UsageError: there is no such file, or the chat template beside it cannot be read.
        """
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise UsageError(f"{path}: no tokenizer.json", hint="give the folder of a model")
        try:
            chat = load_chat_template(file.parent)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _broken(f"the chat template in {file.parent}", error) from error
        return cls(file.resolve().parent.name, file.read_bytes(), chat)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What every id spells; built on first use.

        Raises:
            UsageError: the content is that of no ``tokenizer.json``.
            TokenError: its ids cannot be mapped to bytes.
        """
        return _vocabulary(self._read, self.name)

    @property
    def digest(self) -> str:
        """Content hash of what every id spells."""
        return self.vocabulary.digest

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids of ``text``.

        Byte-level vocabularies spell it exactly: their Unicode normalisation is left out.
        """
        return np.array(self._literal.encode(text, add_special_tokens=False).ids, np.int32)

    def encode_prompt(self, messages: Sequence[Message]) -> NDArray[np.int32]:
        """Return the ids of the prompt in the model's chat template, else rendered plainly."""
        text = self.chat.render(messages) if self.chat else render_plain(messages)
        return np.array(self._model.encode(text, add_special_tokens=False).ids, np.int32)

    def pieces(self, ids: Sequence[int] | NDArray[np.int32]) -> Pieces:
        """Return the bytes of ``ids``; raise ``TokenError`` for an id that is not known."""
        return self.vocabulary.pieces(np.asarray(ids, np.int64))

    @cached_property
    def _read(self) -> "_Spec":
        try:
            return msgspec.json.decode(self._spec, type=_Spec)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _broken(f"tokenizer {self.name!r}", error) from error

    @cached_property
    def _model(self) -> "tokenizers.Tokenizer":
        try:
            import tokenizers  # noqa: PLC0415 - comes with the train extra
        except ImportError as error:
            raise MissingExtra(
                "encoding with tokenizer.json needs the package tokenizers",
                hint="pip install '.[train]' in the project's folder",
            ) from error
        try:
            return tokenizers.Tokenizer.from_buffer(self._spec)
        except ValueError as error:
            raise _broken(f"tokenizer {self.name!r}", error) from error

    @cached_property
    def _literal(self) -> "tokenizers.Tokenizer":
        model = copy.deepcopy(self._model)
        if _is_byte_level(_decoders(self._read.decoder)):
            model.normalizer = None
        return model


def load_tokenizer(name: str) -> Tokenizer:
    """Return the vocabulary called ``name``: ``utf8-bytes``, or a path for ``FastTokenizer``."""
    return Utf8Bytes() if name == Utf8Bytes.name else FastTokenizer.load(Path(name))


def _broken(what: str, error: Exception) -> UsageError:
    """Return the error for a file of a tokenizer that cannot be used."""
    return UsageError(
        f"{what} cannot be read: {error}",
        hint="save the model again with tokenizer.save_pretrained, or download it anew, and give "
        "its folder",
    )


def _vocabulary(content: "_Spec", name: str) -> Vocabulary:
    decoders = _decoders(content.decoder)
    spell = _speller(decoders, name)
    words = content.words()
    size = 1 + max(words, default=-1)
    lengths = np.full(size, -1, np.int64)
    parts: list[bytes] = []
    fallback = np.zeros(size, np.bool_)
    special = np.zeros(size, np.bool_)
    for identifier in sorted(words):
        piece, fallback[identifier] = spell(words[identifier])
        lengths[identifier] = len(piece)
        parts.append(piece)
    for token in content.added_tokens:
        special[token.id] = token.special
    starts = np.cumsum(np.maximum(lengths, 0)) - np.maximum(lengths, 0)
    data = np.frombuffer(b"".join(parts), np.uint8)
    strips = any(item.type in {"Metaspace", "Strip"} for item in decoders)
    digest = hashlib.sha256(lengths.astype("<i8").tobytes() + data.tobytes()).hexdigest()
    return Vocabulary(data, starts, lengths, special, fallback, strips, digest[:ID_DIGITS])


class _Added(msgspec.Struct):
    id: _Id
    content: str
    special: bool = False


class _Model(msgspec.Struct):
    vocab: dict[str, _Id] | list[tuple[str, float]]


class _Decoder(msgspec.Struct):
    type: str
    decoders: list["_Decoder"] = []
    """Of a ``Sequence``."""
    pattern: object = None
    """Of a ``Replace``."""


class _Spec(msgspec.Struct):
    """The parts of ``tokenizer.json`` that say what ids spell."""

    model: _Model
    decoder: _Decoder | None = None
    added_tokens: list[_Added] = []

    def words(self) -> dict[int, str]:
        """Return the token text of each id."""
        vocab = self.model.vocab
        if isinstance(vocab, list):
            words = dict(enumerate(word for word, _ in vocab))
        else:
            words = {identifier: word for word, identifier in vocab.items()}
        return words | {token.id: token.content for token in self.added_tokens}


def _decoders(decoder: _Decoder | None) -> list[_Decoder]:
    """Return the decoders of a sequence, or the one."""
    if decoder is None:
        return []
    if decoder.type == "Sequence":
        return [item for part in decoder.decoders for item in _decoders(part)]
    return [decoder]


def _is_byte_level(decoders: list[_Decoder]) -> bool:
    return any(item.type == "ByteLevel" for item in decoders)


def _speller(decoders: list[_Decoder], name: str) -> Callable[[str], tuple[bytes, bool]]:
    """Return the function from a token's text to its bytes and whether it is a lone byte."""
    kinds = {item.type for item in decoders}
    if "ByteLevel" in kinds:
        return _spell_byte_level
    spaced = "Metaspace" in kinds or any(_turns_mark_to_space(item) for item in decoders)
    if not spaced:
        raise TokenError(
            f"tokenizer {name!r}: ids cannot be mapped to bytes (decoder {sorted(kinds)})",
            hint="use a byte-level BPE or a SentencePiece style tokenizer",
        )
    return partial(_spell_spaced, fallback="ByteFallback" in kinds)


def _turns_mark_to_space(decoder: _Decoder) -> bool:
    return decoder.type == "Replace" and decoder.pattern == {"String": _SPACE_MARK}


def _spell_byte_level(word: str) -> tuple[bytes, bool]:
    """Undo the disguise; a word with other characters, an added token, is plain text."""
    try:
        return bytes(_BYTE_OF[character] for character in word), False
    except KeyError:
        return word.encode(), False


def _byte_disguise() -> dict[str, int]:
    """Return the byte behind each character of a byte-level vocabulary.

    Printable Latin-1 characters stand for themselves; the other bytes for U+0100 and on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    pairs = {chr(byte): byte for byte in plain}
    return pairs | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_OF = _byte_disguise()


def _spell_spaced(word: str, *, fallback: bool) -> tuple[bytes, bool]:
    if fallback and (match := _BYTE_WORD.fullmatch(word)):
        return bytes([int(match[1], 16)]), True
    return word.replace(_SPACE_MARK, " ").encode(), False


_BYTE_WORD = re.compile("<0x([0-9A-Fa-f]{2})>")
