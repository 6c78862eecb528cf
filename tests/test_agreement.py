"""Agreement against hand counts, the published figures and an independent library."""

import krippendorff
import numpy as np
import pytest

from dca.consensus.agreement import (
    alpha,
    bootstrap,
    coincidences,
    nominal_alpha,
    pair_counts,
    pairwise,
)
from dca.consensus.atoms import Atoms

# Krippendorff 2011, section C: four observers, twelve units, published nominal alpha 0.743.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)


def units(table_RA: np.ndarray, lengths_A=None, document_A=None) -> Atoms:
    """Atoms of the given lengths; 0 in the table is no vote, labels count from 1."""
    label_RA = (table_RA - 1).astype(np.int16)
    count = label_RA.shape[1]
    lengths = np.ones(count, dtype=np.int64) if lengths_A is None else np.array(lengths_A)
    stop_A = np.cumsum(lengths)
    document = np.zeros(count, dtype=np.int64) if document_A is None else np.array(document_A)
    step_RA = np.full(label_RA.shape, -1, dtype=np.int64)
    return Atoms(stop_A - lengths, stop_A, document, label_RA, step_RA, np.ones(count, dtype=bool))


def test_alpha_is_the_published_figure() -> None:
    value = nominal_alpha(coincidences(units(PUBLISHED), 1, 5)[0])

    assert value == pytest.approx(0.743421, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_alpha_equals_the_library_with_an_atom_of_n_characters_as_n_units(seed: int) -> None:
    random = np.random.default_rng(seed)
    table_RA = random.integers(0, 4, size=(4, 15))
    lengths = random.integers(1, 6, size=15)
    spelled = np.repeat(table_RA, lengths, axis=1).astype(float)
    spelled[spelled == 0] = np.nan

    ours = nominal_alpha(coincidences(units(table_RA, lengths), 1, 3)[0])

    theirs = krippendorff.alpha(spelled, level_of_measurement="nominal")
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_coincidences_by_hand() -> None:
    # Atom 1 (2 characters): both say 1. Atom 2 (1 character): 1 against 2. Atom 3: one vote.
    table = np.array([[1, 1, 2], [1, 2, 0]])

    found = coincidences(units(table, [2, 1, 5]), 1, 2)[0]

    np.testing.assert_array_equal(found, [[4.0, 1.0], [1.0, 0.0]])
    # n = 6, observed 2, expected (36 - 25 - 1) / 5 = 2: alpha 0.
    assert nominal_alpha(found) == pytest.approx(0.0)


def test_alpha_is_undefined_with_a_reason_and_never_zero_or_one_by_accident() -> None:
    one_label = alpha(coincidences(units(np.array([[1, 1], [1, 1]])), 1, 2))
    one_voice = alpha(coincidences(units(np.array([[1, 2], [0, 0]])), 1, 2))

    assert (one_label.value, one_label.reason) == (None, "one label only")
    assert (one_voice.value, one_voice.reason) == (None, "no stretch has votes of two reviewers")
    assert np.isnan(nominal_alpha(np.zeros((2, 2))))


def test_intervals_resample_documents_and_repeat_with_the_seed() -> None:
    random = np.random.default_rng(0)
    table = random.integers(1, 3, size=(3, 200))
    parts = coincidences(units(table, document_A=np.repeat(np.arange(50), 4)), 50, 2)

    first, again, other = alpha(parts, seed=1), alpha(parts, seed=1), alpha(parts, seed=2)

    assert first == again
    assert other.value == first.value
    assert other.low != first.low
    assert first.n == 50
    assert first.value is not None
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.value < first.high


def test_the_interval_of_a_mean_has_the_textbook_width() -> None:
    # 400 documents of 0 or 1, half each: standard error 0.5 / 20 = 0.025.
    part = np.stack([np.ones(400), np.tile([0.0, 1.0], 200)], axis=1)

    figure = bootstrap(part, lambda sums: sums[:, 1] / sums[:, 0], undefined="", seed=3)

    assert figure.value == 0.5
    assert figure.low is not None
    assert figure.high is not None
    assert (figure.high - figure.low) / 2 == pytest.approx(1.96 * 0.025, rel=0.1)


def test_one_document_has_a_value_but_no_interval() -> None:
    found = alpha(coincidences(units(PUBLISHED), 1, 5))

    assert found.value == pytest.approx(0.743421, abs=1e-6)
    assert (found.low, found.high, found.n) == (None, None, 1)


def test_pairs_count_the_characters_that_both_label() -> None:
    table = np.array([[1, 1, 2], [1, 2, 0], [0, 0, 0]])
    counts = pair_counts(units(table, [2, 1, 5]), 1)

    figures = pairwise(counts, ["a", "b", "c"])

    assert figures["a|b"].value == pytest.approx(2 / 3)  # three characters by both, two alike
    assert figures["a|c"].value is None
    assert figures["b|c"].reason == "nothing labelled by both"
