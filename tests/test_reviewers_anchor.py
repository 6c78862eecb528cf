"""Quotes are found again exactly, nearly, or not at all."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.spans import Span
from reviewers.anchor import Found, Haystack, NotFound

TEXT = (
    "Janet sells 16 - 3 - 4 = 9 duck eggs a day.\n"
    "She makes 9 * 2 = $18 every day at the farmer’s market.\n\n"
    "So she makes 18.\nA: 18"
)


def found(quote: str, *, text: str = TEXT, expected: int = 0) -> str:
    hit = Haystack(text).find(quote, expected=expected)
    assert isinstance(hit, Found), hit
    return hit.span.text(text)


def reason(quote: str, *, text: str = TEXT) -> str:
    hit = Haystack(text).find(quote)
    assert isinstance(hit, NotFound), hit
    return hit.reason


def test_an_exact_quote_is_found_where_it_stands() -> None:
    assert Haystack(TEXT).find("9 duck eggs") == Found(Span(25, 36), 1.0)


def test_surrounding_white_space_of_a_quote_does_not_matter() -> None:
    assert found("  9 duck eggs\n") == "9 duck eggs"


def test_white_space_and_typography_may_differ() -> None:
    assert found("day. She makes 9 × 2") == "day.\nShe makes 9 * 2"
    assert found('at the  farmer\'s "market"', text="at\tthe farmer’s “market”") == (
        "at\tthe farmer’s “market”"
    )


def test_of_equal_places_the_first_from_the_expected_one_on_is_taken() -> None:
    text = "x = 5. Then x = 5. Then x = 5."
    place = [Haystack(text).find("x = 5", expected=at) for at in (0, 1, 13, 25, 30)]

    assert [hit.span.start for hit in place if isinstance(hit, Found)] == [0, 12, 24, 24, 24]


def test_a_number_is_not_found_inside_a_longer_one_while_it_stands_alone_somewhere() -> None:
    assert Haystack("150 and 15 and 5").find("5") == Found(Span(15, 16), 1.0)
    assert Haystack("150 and 15").find("5") == Found(Span(1, 2), 1.0)
    assert Haystack("a 5 in 150").find("5", expected=4) == Found(Span(2, 3), 1.0)
    assert Haystack("5150").find("5", expected=4) == Found(Span(2, 3), 1.0)


def test_the_search_for_a_place_that_stands_alone_is_bounded() -> None:
    hit = Haystack("aa" * 5_000 + " a").find("a", expected=5_000)

    assert hit == Found(Span(5_000, 5_001), 1.0)


def test_an_abbreviated_quote_spans_from_its_first_to_its_last_words() -> None:
    assert (
        found("She makes 9 [...] market.")
        == "She makes 9 * 2 = $18 every day at the farmer’s market."
    )
    assert found("Janet sells … eggs a day.") == "Janet sells 16 - 3 - 4 = 9 duck eggs a day."
    assert found("Wait ... what", text="Wait ... what is it") == "Wait ... what"


def test_an_abbreviated_quote_whose_parts_are_not_in_order_is_rejected() -> None:
    assert "similar" in reason("So she makes 18. [...] Janet sells 16")
    assert "similar" in reason("Janet sells 16 [...] a dozen geese")
    assert "similar" in reason("A dozen geese went [...] a day.")
    assert "short" in reason("[...] Bob")


def test_a_quote_with_few_edits_is_found_loosely() -> None:
    # One letter missing in "Janet", one in "eggs": 2 edits in 41 code points.
    hit = Haystack(TEXT).find("Jane sells 16 - 3 - 4 = 9 duck egs a day.")

    assert hit == Found(Span(0, 43), 1 - 2 / 41)


def test_a_changed_first_or_last_letter_keeps_the_length() -> None:
    assert found("Zanet sells 16 - 3 - 4 = 9 duck eggs a daX") == (
        "Janet sells 16 - 3 - 4 = 9 duck eggs a day"
    )


def test_of_equally_similar_places_the_next_one_is_taken() -> None:
    text = "the sum is 41 apples. the sum is 42 apples. the sum is 43 apples."

    assert found("the sum is 49 apples", text=text, expected=22) == "the sum is 42 apples"
    assert found("the sum is 49 apples", text=text, expected=60) == "the sum is 43 apples"


@pytest.mark.parametrize(
    ("quote", "why"),
    [
        ("", "the quote is empty"),
        (" \n ", "the quote is empty"),
        ("Bob", "too short"),
        ("x" * 2_001, "too long"),
        ("nothing like this is in the text", "90% similar"),
    ],
)
def test_a_quote_that_is_not_in_the_text_is_rejected_with_the_reason(quote, why) -> None:
    assert why in reason(quote)


def test_long_texts_cost_little() -> None:
    text = "".join(
        f"Step {n}: we add {n * 7919 % 1000} to {n * 104729 % 997}. " for n in range(6_000)
    )
    stretch = text[120_000:121_900]
    quotes = [stretch[:at] + "#" + stretch[at + 1 :] for at in (1, 900, 1_800)]
    haystack = Haystack(text)

    begun = time.process_time()
    hits = [haystack.find(quote) for quote in quotes]
    hits += [haystack.find("a" * 1_500), haystack.find("we add to we add to we add to.")]
    seconds = time.process_time() - begun

    assert [hit.span for hit in hits if isinstance(hit, Found)] == [Span(120_000, 121_900)] * 3
    assert seconds < 5


@given(st.text(), st.text(), st.integers(0, 50))
def test_every_hit_lies_in_the_text_and_is_trimmed(text: str, quote: str, expected: int) -> None:
    hit = Haystack(text).find(quote, expected=expected)

    if isinstance(hit, Found):
        stretch = hit.span.text(text)
        assert 0 < len(stretch) == len(hit.span)
        assert stretch == stretch.strip()
        assert 0.9 <= hit.similarity <= 1


@given(st.data())
def test_every_stretch_of_a_text_is_found_again(data: st.DataObject) -> None:
    text = data.draw(st.text(min_size=1))
    start = data.draw(st.integers(0, len(text) - 1))
    quote = text[start : data.draw(st.integers(start + 1, len(text)))]

    hit = Haystack(text).find(quote, expected=start)

    if quote.strip():
        assert isinstance(hit, Found)
        assert hit.span.text(text) == quote.strip()


@given(st.data())
def test_one_edit_in_a_long_quote_never_loses_it(data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="abcdef 0123", min_size=30, max_size=200))
    start = data.draw(st.integers(0, len(text) - 20))
    quote = text[start : start + 20]
    at = data.draw(st.integers(0, 19))
    edited = quote[:at] + data.draw(st.sampled_from(["", "#", quote[at] + "#"])) + quote[at + 1 :]

    hit = Haystack(text).find(edited, expected=start)

    plain, before = " ".join(edited.split()), " ".join(quote.split())
    # Without the word between them two spaces become one, which is one more edit.
    if len(plain) >= 10 and len(before) - len(plain) <= 1:
        assert isinstance(hit, Found)
