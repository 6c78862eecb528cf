"""What the ids of a ``tokenizer.json`` spell."""

import json

import pytest
import tokenizers
from tokenizers import decoders, models

from dca.domain.errors import TokenError, UsageError
from dca.domain.rollout import Message
from tests.tokenizer_examples import FAST, MODELS, UNKNOWN
from training.tokens import Utf8Bytes
from training.vocabulary import FastTokenizer, load_tokenizer


def test_the_normaliser_of_a_byte_level_vocabulary_does_not_change_a_completion() -> None:
    tokenizer = FAST["byte-level"]
    decomposed = "e\u0301"

    assert MODELS["byte-level"].decode(tokenizer.encode(decomposed).tolist()) == decomposed
    prompt = tokenizer.encode_prompt([Message("user", decomposed)])
    assert "é" in MODELS["byte-level"].decode(prompt.tolist())


def test_ids_outside_the_vocabulary_are_refused() -> None:
    tokenizer = FAST["byte-level"]
    beyond = MODELS["byte-level"].get_vocab_size()

    for wrong in (-1, beyond, 10**6):
        with pytest.raises(TokenError, match=f"token 1: id {wrong} is not in the vocabulary"):
            tokenizer.pieces([0, wrong])


def test_a_vocabulary_with_a_hole_refuses_the_missing_id(tmp_path) -> None:
    spec = json.loads(MODELS["byte-level"].to_str())
    last = spec["added_tokens"][-1]
    last["id"] += 5
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(spec))

    tokenizer = FastTokenizer.load(path)

    assert bytes(tokenizer.pieces([last["id"]]).data) == b"<think>"
    with pytest.raises(TokenError, match="not in the vocabulary"):
        tokenizer.pieces([last["id"] - 1])


def test_the_digest_is_that_of_what_ids_spell(tmp_path) -> None:
    model = MODELS["byte-level"]
    (tmp_path / "one").mkdir()
    model.save(str(tmp_path / "one" / "tokenizer.json"))
    again = FastTokenizer.load(tmp_path / "one")
    padded = tokenizers.Tokenizer.from_str(model.to_str())
    padded.enable_padding()
    with_padding = FastTokenizer("two", padded.to_str().encode())
    more = tokenizers.Tokenizer.from_str(model.to_str())
    more.add_tokens(["<extra>"])

    assert again.name == "one"
    assert again.digest == with_padding.digest == FAST["byte-level"].digest
    assert FastTokenizer("three", more.to_str().encode()).digest != again.digest
    assert len({tokenizer.digest for tokenizer in [*FAST.values(), Utf8Bytes()]}) == 4


def test_an_added_token_with_a_space_is_spelled_as_it_reads() -> None:
    model = tokenizers.Tokenizer.from_str(MODELS["byte-level"].to_str())
    model.add_tokens(["<two words>"])

    ids = [model.token_to_id("<two words>")]

    assert model.decode(ids) == "<two words>"
    tokenizer = FastTokenizer("more", model.to_str().encode())
    assert bytes(tokenizer.pieces(ids).data) == b"<two words>"


def test_tokenizers_are_loaded_by_name_or_path(tmp_path) -> None:
    MODELS["metaspace"].save(str(tmp_path / "tokenizer.json"))

    assert isinstance(load_tokenizer("utf8-bytes"), Utf8Bytes)
    assert load_tokenizer(str(tmp_path)).digest == FAST["metaspace"].digest
    with pytest.raises(UsageError, match=r"no tokenizer\.json"):
        load_tokenizer(str(tmp_path / "none"))


@pytest.mark.parametrize("decoder", [None, decoders.WordPiece()])
def test_a_vocabulary_that_is_not_byte_exact_is_refused(decoder) -> None:
    model = tokenizers.Tokenizer(models.WordPiece({UNKNOWN: 0}, unk_token=UNKNOWN))
    if decoder is not None:
        model.decoder = decoder

    with pytest.raises(TokenError, match="cannot be mapped to bytes"):
        FastTokenizer("word-piece", model.to_str().encode()).pieces([0])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "truncated"),
        ("{}", "missing required field `model`"),
        ('{"model": {"vocab": {"a": -1}}}', "Expected `int` >= 0"),
        ('{"model": {"vocab": {"a": 99999999999}}}', "Expected `int` <= 16777215"),
        ('{"model": {"vocab": {"a": 0}}, "decoder": {"decoders": []}}', "required field `type`"),
        ("\udcff", "codec can't decode|JSON is malformed"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused_with_what_to_do(tmp_path, spec, said) -> None:
    (tmp_path / "tokenizer.json").write_text(spec, errors="surrogateescape")

    with pytest.raises(UsageError, match=said) as caught:
        _ = load_tokenizer(str(tmp_path)).digest
    assert f"tokenizer {tmp_path.name!r} cannot be read" in str(caught.value)
    assert "tokenizer.save_pretrained" in str(caught.value.hint)


def test_a_file_that_only_the_encoder_cannot_read_is_refused_too(tmp_path) -> None:
    spec = json.loads(MODELS["byte-level"].to_str())
    spec["model"]["merges"] = [["no such", "token"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))

    with pytest.raises(UsageError, match="out of vocabulary"):
        load_tokenizer(str(tmp_path)).encode("text")


@pytest.mark.parametrize("config", [b"{", b'{"chat_template": "\xff"}'])
def test_a_broken_configuration_beside_a_tokenizer_is_refused(tmp_path, config) -> None:
    MODELS["byte-level"].save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_bytes(config)

    with pytest.raises(UsageError, match=r"the chat template in .* cannot be read"):
        load_tokenizer(str(tmp_path))
