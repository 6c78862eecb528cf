from fractions import Fraction

import pytest

from reviewers.rules.equations import read_page
from reviewers.rules.numbers import Verdict, compare, numeral, show

RIGHT = [
    ("3 + 4 = 7", "3 + 4 = 7"),
    ("So 3 * 4 = 6 * 2 = 12 in all.", "3 * 4 = 6 * 2 = 12"),
    ("3 + 4 = 7 + 2 = 9", "3 + 4 = 7 + 2 = 9"),
    ("She has 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs", "16 - 3 - 4 = <<16-3-4=9>>9"),
    ("That is $2 * 9 = $18 a day", "$2 * 9 = $18"),
    ("2 x 0.5 = 1", "2 x 0.5 = 1"),
    ("2x0.5=1", "2x0.5=1"),
    ("80,000*1.5 = 120,000 dollars", "80,000*1.5 = 120,000"),
    ("20% of 50 is 10", "20% of 50 is 10"),
    ("120 * 150% = 180", "120 * 150% = 180"),
    ("600 - 10% = 540", "600 - 10% = 540"),
    ("100% - 20% = 80%", "100% - 20% = 80%"),
    ("30/120 = 25%", "30/120 = 25%"),
    ("30 / 120 * 100 = 25%", "30 / 120 * 100 = 25%"),
    ("twenty percent of 50 is 10", "twenty percent of 50 is 10"),
    ("3/4 of 20 = 15", "3/4 of 20 = 15"),
    (r"$3 \times 4 = 12$", r"3 \times 4 = 12"),
    (r"\(\frac{3}{4} \cdot 20 = 15\)", r"\frac{3}{4} \cdot 20 = 15"),
    (r"\[ \left(3 + 4\right) \div 7 = \boxed{1} \]", r"(3 + 4\right) \div 7 = \boxed{1}"),
    (r"\frac{1}{2} + \frac{1}{3} = \frac{5}{6}", r"\frac{1}{2} + \frac{1}{3} = \frac{5}{6}"),
    (r"\frac{1}{3} \approx 0.33 ok 2 \times \frac{1}{4} = 0.5", r"\frac{1}{3} \approx 0.33"),
    (r"3\,000 \times 2 = 6{,}000", r"3\,000 \times 2 = 6{,}000"),
    ("7 × 8 = 56", "7 × 8 = 56"),
    ("120 – 80 − 15 = 25", "120 – 80 − 15 = 25"),
    ("10 ÷ 4 = 2.5", "10 ÷ 4 = 2.5"),
    ("10 / 3 = 3.33", "10 / 3 = 3.33"),
    ("10/3 = 3.333...", "10/3 = 3.333"),
    ("2/3 = 0.66", "2/3 = 0.66"),
    ("599.9 - 398 = 201.89999999999998", "599.9 - 398 = 201.89999999999998"),
    ("3 plus 4 is 7", "3 plus 4 is 7"),
    ("3 + 4, which is 7", "3 + 4, which is 7"),
    ("twelve divided by four equals three", "twelve divided by four equals three"),
    ("3 multiplied by 4 makes 12", "3 multiplied by 4 makes 12"),
    ("half of the 10 is 5", "half of the 10 is 5"),
    ("twice 6 is 12", "twice 6 is 12"),
    ("two-thirds of 60 is 40", "two-thirds of 60 is 40"),
    ("a third of 60 is 20", "a third of 60 is 20"),
    ("twenty-five plus five is thirty", "twenty-five plus five is thirty"),
    ("three and a half times 2 is 7", "three and a half times 2 is 7"),
    ("2 1/2 * 2 = 5", "2 1/2 * 2 = 5"),
    ("3 million + 2 million = 5 million", "3 million + 2 million = 5 million"),
    ("3 apples + 4 apples = 7 apples", "3 apples + 4 apples = 7"),
    ("5 hours * $12/hour = $60", "5 hours * $12/hour = $60"),
    (r"5 \text{ hours} \times 3 = 15", r"5 \text{ hours} \times 3 = 15"),
    ("2 skeins per hat + 4 skeins per scarf = 6", "2 skeins per hat + 4 skeins per scarf = 6"),
    ("- 3 + 4 = 7", "3 + 4 = 7"),
    ("* 3 + 4 = 7", "3 + 4 = 7"),
    ("1. 3 + 4 = 7", "3 + 4 = 7"),
    ("a) 3 + 4 = 7", "3 + 4 = 7"),
    ("**3 + 4 = 7**", "3 + 4 = 7"),
    ("-3 + 5 = 2", "-3 + 5 = 2"),
    ("2**3 = 8", "2**3 = 8"),
    ("2^10 = 1024", "2^10 = 1024"),
    ("2^-1 = 0.5", "2^-1 = 0.5"),
    ("5² + 1 = 26", "5² + 1 = 26"),
    ("2(3 + 4) = 14", "2(3 + 4) = 14"),
    ("(3 + 4)(2) = 14", "(3 + 4)(2) = 14"),
    ("5 * -3 = -15", "5 * -3 = -15"),
    ("Total\n= 3 * 4\n= 12", "3 * 4\n= 12"),
    ("Day 2 = 3 * 4 = 12", "3 * 4 = 12"),
    ("12 = 3 * 4", "12 = 3 * 4"),
    ("x + 3 = 7 = 4 + 3", "7 = 4 + 3"),
    ("f(3) = 3 * 2 + 1 = 7", "3 * 2 + 1 = 7"),
    ("3 + 4 = 7 - so she has enough", "3 + 4 = 7"),
    ("3 + 4 = 7 (she counts)", "3 + 4 = 7"),
    ("(so 3 + 4 = 7)", "3 + 4 = 7"),
    ("3 + 4 = 7 = 7", "3 + 4 = 7 = 7"),
    ("3 + 4 = 7 = 5 + 2", "3 + 4 = 7 = 5 + 2"),
    ("10 / 3 = 3.33 = 3", "10 / 3 = 3.33 = 3"),
    ("10 / 3 = 3 = 3.33", "10 / 3 = 3 = 3.33"),
    ("3/4 = 0.75 = 75%", "3/4 = 0.75 = 75%"),
    ("7/2 = 3.5 = 3 1/2", "7/2 = 3.5 = 3 1/2"),
    ("20% - 5% = 15%", "20% - 5% = 15%"),
]


@pytest.mark.parametrize(("text", "phrase"), RIGHT)
def test_a_right_equation_of_any_style_is_found_and_holds(text, phrase):
    found = read_page(text).equations[0]

    assert found.span.text(text) == phrase
    assert found.verdict is Verdict.RIGHT


WRONG = [
    ("3 + 4 = 8", "3 + 4 = 8", "7"),
    ("12 apples * 3 = 35", "12 apples * 3 = 35", "36"),
    ("7 × 8 = 54", "7 × 8 = 54", "56"),
    ("20% of 50 is 12", "20% of 50 is 12", "10"),
    ("twice 6 is 13", "twice 6 is 13", "12"),
    ("3 times 4 equals 13", "3 times 4 equals 13", "12"),
    ("a = 5 * 3 = 14", "5 * 3 = 14", "15"),
    (
        r"\frac{1}{2} + \frac{1}{3} = \frac{2}{5}",
        r"\frac{1}{2} + \frac{1}{3} = \frac{2}{5}",
        "0.8333",
    ),
    ("1071/144 = 361/48", "1071/144 = 361/48", "7.4375"),
    ("9 * $2 = $<<9*2=18>>20", "9 * $2 = $<<9*2=18>>20", "18"),
    ("The total is hats and <<9*2=19>>19", "9*2=19", "18"),
    ("14 = 3 * 4", "14 = 3 * 4", "12"),
    ("2 * 3 = 6 = 2 + 5", "2 * 3 = 6 = 2 + 5", "7"),
    ("180 - 240 = 60", "180 - 240 = 60", "-60"),
    ("peeled 180 - 240 = <<180-240=-60>>60 more", "180 - 240 = <<180-240=-60>>60", "-60"),
    ("They lost. He has 62 toys - 110 toys = 48", "62 toys - 110 toys = 48", "-48"),
    ("two holes * 2 holes = <<2*2=5>>5", "two holes * 2 holes = <<2*2=5>>5", "4"),
    ("twenty-five plus five is fifty", "twenty-five plus five is fifty", "30"),
    ("3 + 4 = 7 = 8", "3 + 4 = 7 = 8", "7"),
    ("3 + 4 = 7 = 7 = 8", "3 + 4 = 7 = 7 = 8", "7"),
    ("3 + 4 = <<3+4=7>>7 = 8", "3 + 4 = <<3+4=7>>7 = 8", "7"),
    ("Let x = 3 + 4 = 7 = 8", "3 + 4 = 7 = 8", "7"),
    ("3 + 4 = 7 = 5 + 3", "3 + 4 = 7 = 5 + 3", "8"),
    ("3 + 4 = 7 + 2 = 8", "3 + 4 = 7 + 2 = 8", "9"),
    ("3 + 4 = 7 = 5 + 2 = 8", "3 + 4 = 7 = 5 + 2 = 8", "7"),
    ("3 + 4 = 7 apples = 8 apples", "3 + 4 = 7 apples = 8", "7"),
    ("3/4 = 0.75 = 80%", "3/4 = 0.75 = 80%", "0.75"),
    ("25/75 x 100% = 25%", "25/75 x 100% = 25%", "0.3333"),
    ("100% - 40% = 40%", "100% - 40% = 40%", "0.6"),
    ("he has 4 * 3 eggs = 24 eggs", "4 * 3 eggs = 24", "12"),
    ("He pays 300 * $50 = $1500 rent", "300 * $50 = $1500", "15000"),
]


@pytest.mark.parametrize(("text", "phrase", "value"), WRONG)
def test_a_wrong_equation_is_found_with_the_right_value(text, phrase, value):
    found = read_page(text).equations[0]

    assert found.span.text(text) == phrase
    assert found.verdict is Verdict.WRONG
    assert found.value is not None
    assert show(found.value) == value


UNCLEAR = [
    "11 / 3 = 3 people",  # cut to whole people
    "10 / 3 = 4 boxes",  # one more box for the rest
    "10 / 3 = 3.34",  # money rounded up
    "The difference is 60 - 170 = 110",  # without its sign
    "He is 60 - 170 = 110 points short.",
    "She earned 360 - 480 = $<<360-480=-120>>120 less.",
    "pages 10-25 = 15 pages",  # a range
    "7 buttons with two holes * 2 holes = <<7*2=14>>14",
    "60% more than the first two complexes * 400 = 240",
    "4 * each two = 6",
    "1 hour + 30 minutes = 90 minutes",
    "50 cents * 4 = 2 dollars",
    "5 feet * 2 = 120 inches",
    "120 miles / 2 hours / 3 = 15",  # a rate, and two divisions
    "5/0 = 0",
    "2^0.5 = 1.41",
    "3 ^ 100 = 5",
    "Is 3 + 4 = 8? No.",
    "If 3 + 4 = 8",
    "3 + 4 = 8 is wrong",
    "17 / 5 = 3 remainder 2",
    "the sum of 2 and 3 + 4 = 9",
    "480-488 is 9 numbers",
    "pages 3-7 = 5 pages",
    "0.33 * 900 = 300",
    "3 + 4 + 5 = 3 + 4 = 7",
    "98 * 5 ≈ 500",
    "8 * 2 = 16 = 15 groups",
    "2 halves of 3 pound is 4 * 5 = 20",
    "4 * 3 = 12 million",
    "3 + 4 = 7 is 8",
    "2 * 45 = 90 = 1.5",
    "3 * 400 = 1200 = $12",
    "3/4 = 0.75 = 75",
    "5 * 12 = 60 minutes = 1 hour",
    "24 + 6 = 30 eggs = 5 boxes",
    "11 / 3 = 3.67 = 3",
    "4 crates * 6 = 2 boxes",
    "60 * 2 = 2 hours",
]


@pytest.mark.parametrize("text", UNCLEAR)
def test_a_difference_that_may_have_a_good_reason_is_not_called_wrong(text):
    assert [e.verdict for e in read_page(text).equations if e.verdict is Verdict.WRONG] == []


UNREAD = [
    "x + 3 = 7",
    "2x + 3 = 7",
    "3k - 1 = 0",
    "3 + 4 = 7 + x",
    "3 + 4 = 7 - x",
    "3 + 4 = 7 * price",
    "5! = 119",
    "√9 + 1 = 5",
    r"\sqrt{9} + 1 = 5",
    "sqrt(9) + 1 = 5",
    "10 mod 3 = 2",
    "3,5 + 1 = 4,6",
    "2:38 - 2:15 = 24",
    "profit - 3 = 5",
    "f(3) = 8",
    "12/x = 5",
    "3 4 + 5 = 10",
    "3 + 4 != 8",
    "3 + 4 == 8",
    "3 + = 8",
    r"\frac12 + 1 = 2",
    r"2\frac{1}{2} + 1 = 9",
    "1.2.3 + 1 = 4",
    "The 2nd + 3rd = 6th",
    "5 = 5",
    "Room 3 = 4",
    "two times is 5",
    "3 + 4 > 8",
    "a third = 5, thirds = 6",
    "hundreds + 3 = 4",
    "multiply by 5 10/2 = 6",
    "3 + 4 )( = 7",
    "0/0 = 5%",
    "10 - 5% = 3/0 = 4",
    "2 and a half moons",
]


@pytest.mark.parametrize("text", UNREAD)
def test_what_is_no_plain_arithmetic_is_left_alone(text):
    assert [e for e in read_page(text).equations if e.verdict is Verdict.WRONG] == []


@pytest.mark.parametrize(
    "text",
    [
        "We know that x+17 = 2x.",
        "2x = 17",
        "S + G is 70",
        "profit - 3 = 5",
        "He pays 3 + 4 = 7 * price",
        "f(3) = 8",
        "√9 + 1 = 5",
        "2:38 - 2:15 = 24",
        "12/x = 5",
        "so x = <<3*k=25>>25",
        "- x * 3 = 9",
    ],
)
def test_mathematics_that_cannot_be_checked_is_known_to_be_there(text):
    assert len(read_page(text).unread) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Let x = 3 * 4 = 12.",
        "x = 16 - 7",
        "- x = 5",
        "x=<<6=6>>6",
        "2k = <<2*3=6>>6",
        "Day 2 = 3 * 4 = 12",
        "Total = $12",
        "#3 = 5 apples",
        "The ice-cream = 5 dollars",
        "1 hour = 60 minutes",
        "There are 2x players and b is 5",
        "At 3pm it was 5",
        "16 - 3 - 4 = <<16-3-4=9>>9 eggs",
        "revenue - cost = profit",
    ],
)
def test_what_gives_a_name_or_is_checked_is_no_unread_mathematics(text):
    assert read_page(text).unread == ()


def test_unread_mathematics_has_its_place():
    page = read_page("3 + 4 = 7, so 2x = 17")

    # "=" of "2x = 17" is the 18th character.
    assert page.unread == (17,)
    assert page.unread_before(18)
    assert not page.unread_before(17)


def test_an_equation_knows_its_operands_and_its_result():
    found = read_page("She pays 2 * 3 = 6 + 4 = 10.").equations[0]

    # 6 is the result of the first side, not a new operand.
    assert found.operands == (2, 3, 4)
    assert found.result == 10
    assert found.between == (6, 4, 10)


def test_the_same_calculation_has_the_same_key_whatever_its_units():
    one, two = read_page("3 apples + 4 apples = 8. So 3 + 4 = 7.").equations

    assert one.key == two.key
    assert (one.sure, two.sure) == (False, True)


def test_a_wrong_line_whose_calculator_mark_is_right_says_so():
    one, two = read_page("4 + 3 = <<22+5=27>>27 and then 9 * 2 = <<9*2=19>>19").equations

    assert (one.verdict, one.marked) == (Verdict.WRONG, True)
    assert (two.verdict, two.marked) == (Verdict.WRONG, False)


def test_numbers_are_read_wherever_they_stand():
    text = "Three pairs, 1,250 nails, 20% and .5"

    values = [(n.span.text(text), n.value, n.percent) for n in read_page(text).numerals]

    assert values == [
        ("Three", 3, False),
        ("1,250", 1250, False),
        ("20", 20, True),
        (".5", Fraction(1, 2), False),
    ]


def test_a_numeral_keeps_its_decimals():
    assert numeral("3.50") == (Fraction(7, 2), 2)
    assert numeral("1,000,000.5") == (Fraction(2000001, 2), 1)
    assert numeral("1.5e3") == (Fraction(1500), 0)
    assert numeral("2e-2") == (Fraction(1, 50), 2)


@pytest.mark.parametrize(
    "raw", ["1,2,3", "3:30", "1.2.3", "9" * 41, "1," * 60 + "1", "1e99", "3,5"]
)
def test_what_is_no_single_number_has_no_value(raw):
    assert numeral(raw) is None


def test_rounding_is_right_either_way_at_a_tie():
    half = Fraction(5, 2)

    assert compare(half, Fraction(2), 0) is Verdict.RIGHT
    assert compare(half, Fraction(3), 0) is Verdict.RIGHT
    assert compare(half, Fraction(4), 0) is Verdict.WRONG


def test_about_allows_five_per_cent():
    assert compare(Fraction(100), Fraction(104), 0, loose=True) is Verdict.UNCLEAR
    assert compare(Fraction(100), Fraction(106), 0, loose=True) is Verdict.WRONG


def test_a_value_is_shown_short():
    assert show(Fraction(7)) == "7"
    assert show(Fraction(1, 3)) == "0.3333"
    assert show(Fraction(10**80)) == "a huge number"
    assert show(Fraction(1, 10**80)) == "a fraction with many digits"


def test_a_line_cut_in_the_middle_of_a_block_is_not_misread():
    # One line of 9,001 characters: the block ends inside, and what follows the cut begins with
    # "+ 1", whose left neighbour is out of sight.
    text = "1 + " * 2250 + "1 = 5"

    assert [e.verdict for e in read_page(text).equations] == []


def test_long_texts_are_read_block_by_block():
    text = "3 + 4 = 7\n" * 2_000

    found = read_page(text).equations

    assert len(found) == 2_000
    assert found[-1].span.text(text) == "3 + 4 = 7"


def test_a_very_long_sum_is_not_read():
    assert read_page("1 + " * 200 + "1 = 5").equations == ()


def test_half_after_a_word_is_still_a_half():
    text = "He ran and a half of 10 is 5"

    assert read_page(text).equations[0].span.text(text) == "half of 10 is 5"


def test_zero_is_no_ratio_and_no_reason():
    found = read_page("5 * 0 = 3 pens").equations[0]

    assert found.verdict is Verdict.WRONG
