import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from dca.domain.errors import MissingExtra, TokenError, UsageError
from dca.domain.rollout import Message
from training.tokens import Pieces, TokenMap, Utf8Bytes, align, identity, split_identity
from training.vocabulary import FastTokenizer, load_tokenizer

CORPUS = [
    "The bakery sold 12 + 30 = 42 loaves, so the answer is 42.",
    "Wait, that is wrong: 7 * 8 = 56, not 54. Let me check again.",
    "世界は広い。三加四等于七。 한국어 문장도 있다.",
    "שלום עולם، مرحبا بالعالم",
    "cafe\u0301 naïve Ångström 😀👩‍👩‍👧 \\frac{1}{2}",
]
UNKNOWN = "<unk>"
HARD = [
    "plain",
    " leading and trailing ",
    "😀👩‍👩‍👧🇩🇪",
    "世界、三加四等于七",
    "e\u0301\u0323 combining",
    "שלום and مرحبا",
    "nul \x00 inside",
    "\ufffd real replacement \ufffd",
    "tabs\t\tand\r\nlines\n\n",
    "a" * 300,
]


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


def check(token_map: TokenMap, completion: str, count: int) -> None:
    """What every map must fulfil."""
    starts, stops, offsets = token_map.byte_starts, token_map.byte_stops, token_map.offsets
    assert len(starts) == len(stops) == len(offsets) == count
    assert offsets.dtype == np.int32
    assert starts[0] == 0
    assert stops[-1] == len(completion.encode())
    np.testing.assert_array_equal(starts[1:], stops[:-1])
    assert (starts <= stops).all()
    assert (np.diff(offsets, axis=0) >= 0).all()
    first_byte = [len(completion[:at].encode()) for at in range(len(completion) + 1)]
    for (first, last), start, stop in zip(offsets, starts, stops, strict=True):
        assert first_byte[first] <= start
        assert stop <= first_byte[last]
        if start < stop:  # the first and the last character are really touched
            assert first_byte[first + 1] > start
            assert first_byte[last - 1] < stop


def test_a_character_that_several_tokens_spell_belongs_to_all_of_them() -> None:
    # é = C3 A9, 😀 = F0 9F 98 80
    token_map = align("é😀b", Pieces.of([b"\xc3", b"\xa9\xf0\x9f", b"\x98\x80b"]))

    assert token_map.byte_starts.tolist() == [0, 1, 4]
    assert token_map.byte_stops.tolist() == [1, 4, 7]
    assert token_map.offsets.tolist() == [[0, 1], [0, 2], [1, 3]]


def test_bytes_that_were_replaced_share_the_bytes_of_their_replacement() -> None:
    # E2 82 is one cut character, so one U+FFFD of three bytes; FF is one more
    token_map = align("a\ufffdb\ufffd", Pieces.of([b"a\xe2", b"\x82", b"b\xff"]))

    assert token_map.offsets.tolist() == [[0, 2], [1, 2], [2, 4]]
    assert token_map.byte_starts.tolist() == [0, 2, 4]
    assert token_map.byte_stops.tolist() == [2, 4, 8]


def test_a_replacement_character_that_was_really_written_aligns_too() -> None:
    token_map = align("\ufffd\ufffd", Pieces.of(["\ufffd".encode(), b"\xff"]))

    assert token_map.offsets.tolist() == [[0, 1], [1, 2]]


def test_a_character_cut_by_the_end_may_be_missing_in_the_text() -> None:
    token_map = align("ab", Pieces.of([b"a", b"b\xe2", b"\x82"]))

    assert token_map.offsets.tolist() == [[0, 1], [1, 2], [2, 2]]
    assert token_map.byte_stops.tolist() == [1, 2, 2]


def test_no_tokens_spell_the_empty_text() -> None:
    assert align("", Pieces.of([])).offsets.shape == (0, 2)


def test_ids_that_do_not_spell_the_text_are_refused_with_the_place() -> None:
    with pytest.raises(TokenError, match=r"part at character 2, token 1, near 'abXd'"):
        align("abXd", Pieces.of([b"ab", b"cd"]))
    with pytest.raises(TokenError, match="character 2"):
        align("abcd", Pieces.of([b"ab"]))
    with pytest.raises(TokenError, match="character 2"):
        align("ab", Pieces.of([b"ab", b"cd"]))
    with pytest.raises(TokenError, match="character 1"):
        align("a\udc01", Pieces.of([b"a", b"\xff"]))


@pytest.mark.parametrize("text", HARD)
def test_utf8_bytes_spell_any_text(text) -> None:
    tokenizer = Utf8Bytes()
    ids = tokenizer.encode(text)

    assert ids.tolist() == list(text.encode())
    check(align(text, tokenizer.pieces(ids)), text, len(ids))


def test_utf8_bytes_refuse_an_id_that_is_no_byte() -> None:
    with pytest.raises(TokenError, match="token 1: id 256 is no byte"):
        Utf8Bytes().pieces([65, 256])


def test_utf8_bytes_render_prompts_plainly() -> None:
    ids = Utf8Bytes().encode_prompt([Message("user", "2+2?")])

    assert bytes(ids.tolist()) == b"user: 2+2?\n\nassistant: "


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("text", HARD)
def test_encoded_texts_align_where_the_vocabulary_can_spell_them(name, text) -> None:
    tokenizer = FAST[name]
    ids = tokenizer.encode(text)
    shown = MODELS[name].decode(ids.tolist(), skip_special_tokens=False)
    if name == "byte-level":
        assert shown == text

    if "<unk>" not in shown:
        check(align(shown, tokenizer.pieces(ids)), shown, len(ids))


@settings(max_examples=150, deadline=None)
@given(text=st.text(min_size=1, max_size=60))
def test_byte_level_ids_spell_any_text(text) -> None:
    tokenizer = FAST["byte-level"]
    ids = tokenizer.encode(text)

    check(align(text, tokenizer.pieces(ids)), text, len(ids))


@pytest.mark.parametrize("name", ["byte-level", "spaced"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_ids_align_to_what_the_tokenizer_decodes_them_to(name, data) -> None:
    size = MODELS[name].get_vocab_size()
    ids = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=40))
    skip = data.draw(st.booleans())
    text = MODELS[name].decode(ids, skip_special_tokens=skip)

    token_map = align(text, FAST[name].pieces(ids))

    if text:
        check(token_map, text, len(ids))


def test_control_tokens_may_be_spelled_silent_or_both() -> None:
    special = np.array([False, True, False, True])
    plain = Pieces.of([b"ab", b"<e>", b"cd", b"<e>"])
    pieces = Pieces(plain.data, plain.lengths, special, plain.fallback)

    spelled = align("ab<e>cd<e>", pieces)
    silent = align("abcd", pieces)
    mixed = align("ab<e>cd", pieces)

    assert spelled.offsets.tolist() == [[0, 2], [2, 5], [5, 7], [7, 10]]
    assert silent.offsets.tolist() == [[0, 2], [2, 2], [2, 4], [4, 4]]
    assert mixed.offsets.tolist() == [[0, 2], [2, 5], [5, 7], [7, 7]]


def test_an_added_token_that_is_not_special_is_always_spelled() -> None:
    tokenizer = FAST["byte-level"]
    ids = tokenizer.encode("<think>42")
    end = MODELS["byte-level"].token_to_id("<|end|>")

    token_map = align("<think>42", tokenizer.pieces([*ids, end]))

    assert token_map.offsets[0].tolist() == [0, 7]
    assert token_map.offsets[-1].tolist() == [9, 9]


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


def test_an_identity_is_name_and_digest() -> None:
    tokenizer = Utf8Bytes()

    assert split_identity(identity(tokenizer)) == ("utf8-bytes", tokenizer.digest)
    assert split_identity("org/Model@v2@abc") == ("org/Model@v2", "abc")
    assert split_identity("bare") == ("bare", "")


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


def chat_folder(tmp_path: Path, config: dict[str, object], template: str = "") -> FastTokenizer:
    MODELS["byte-level"].save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if template:
        (tmp_path / "chat_template.jinja").write_text(template)
    return FastTokenizer.load(tmp_path)


TEMPLATE = (
    "{%- for m in messages %}{% generation %}{{ m.role }}|{{ m.content }}{{ eos_token }}"
    "{% endgeneration %}\n{% endfor %}{% if add_generation_prompt %}assistant|{% endif %}"
)
RENDERED = "user|2+2?<|end|>\nassistant|"


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ({"eos_token": "<|end|>", "chat_template": TEMPLATE}, ""),
        ({"eos_token": {"content": "<|end|>"}, "chat_template": "unused"}, TEMPLATE),
        (
            {
                "eos_token": "<|end|>",
                "chat_template": [
                    {"name": "tool_use", "template": "no"},
                    {"name": "default", "template": TEMPLATE},
                ],
            },
            "",
        ),
    ],
)
def test_prompts_are_rendered_with_the_chat_template(tmp_path, config, file) -> None:
    tokenizer = chat_folder(tmp_path, config, file)

    ids = tokenizer.encode_prompt([Message("user", "2+2?")])

    assert MODELS["byte-level"].decode(ids.tolist(), skip_special_tokens=False) == RENDERED
    assert MODELS["byte-level"].token_to_id("<|end|>") in ids.tolist()


def test_without_a_chat_template_prompts_are_rendered_plainly(tmp_path) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": [{"name": "rag", "template": "x"}]})

    ids = tokenizer.encode_prompt([Message("user", "hi")])

    assert MODELS["byte-level"].decode(ids.tolist()) == "user: hi\n\nassistant: "


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ raise_exception('no user turn') }}", "no user turn"),
        ("{% if %}", "the chat template is broken"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_chat_template_that_fails_is_an_error_of_the_tokens(tmp_path, template, problem) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": template})

    with pytest.raises(TokenError, match=problem):
        tokenizer.encode_prompt([Message("user", "hi")])


def test_a_chat_template_may_write_json_without_html_escapes(tmp_path) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": "{{ messages[0].content | tojson }}"})

    ids = tokenizer.encode_prompt([Message("user", "<é>")])

    assert MODELS["byte-level"].decode(ids.tolist()) == '"<é>"'


@pytest.mark.parametrize("package", ["jinja2", "tokenizers"])
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, package) -> None:
    tokenizer = chat_folder(tmp_path, {"chat_template": TEMPLATE})
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks a package as missing

    with pytest.raises(MissingExtra, match=package) as caught:
        tokenizer.encode_prompt([Message("user", "hi")])
    assert "[train]" in str(caught.value.hint)


def test_an_added_token_with_a_space_is_spelled_as_it_reads() -> None:
    model = tokenizers.Tokenizer.from_str(MODELS["byte-level"].to_str())
    model.add_tokens(["<two words>"])

    ids = [model.token_to_id("<two words>")]

    assert model.decode(ids) == "<two words>"
    tokenizer = FastTokenizer("more", model.to_str().encode())
    assert bytes(tokenizer.pieces(ids).data) == b"<two words>"


def test_the_codec_handler_is_for_decoding_only() -> None:
    with pytest.raises(UnicodeEncodeError):
        "é".encode("ascii", "dca-mark")


def test_32_000_tokens_align_in_milliseconds() -> None:
    tokenizer = FAST["byte-level"]
    rng = np.random.default_rng(0)
    ids = tokenizer.encode(" ".join(rng.choice(CORPUS, 1500)))[:32_000]
    text = MODELS["byte-level"].decode(ids.tolist())
    assert len(ids) == 32_000
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        align(text, tokenizer.pieces(ids))
        times.append(time.perf_counter() - begin)

    assert min(times) < 0.1
