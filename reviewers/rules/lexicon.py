"""Words and signs that the token reader knows, by what they do in arithmetic."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = {"×": "*", "·": "*", "∙": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "—": "-"}
LATEX_OPERATORS = {r"\times": "*", r"\cdot": "*", r"\ast": "*", r"\div": "/"}
LATEX_SILENT = _words(
    r"\left \right \boxed \fbox \displaystyle \quad \qquad \big \Big \bigl \bigr"
)
WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*", "multiplied": "*", "divided": "/"}

EQUALITY_WORDS = _words(
    "is are was were equals equal gives makes yields totals leaves give make leave"
)
AFTER_EQUALITY = _words("approximately about roughly exactly just only us equal to now")
"""Words that may stand between an equality and its number: "is equal to about 7"."""
AFTER_MULTIPLE = _words("the his her their its of those these all remaining that")
"""Words that may stand between a share or a multiple and its number: "half of the 10"."""
STOP_WORDS = _words(
    """and or but so then thus hence therefore because since if when while as than that which who
    where what how the she he it they we you i this there these those will would can could should
    may must has have had having do does did get gets got need needs made take takes took goes
    went go spends spent spend pays paid pay earns earned earn sells sold sell buys bought buy
    costs cost find finds found let lets now first next finally also with after before until from
    into not no yes wait leaving giving left means step answer be been being lost gained ate eats
    used uses gave see know calculate add subtract multiply divide total"""
)
"""Words that cannot stand between a number and the operator after it."""
FUNCTIONS = _words(
    "sqrt log ln exp sin cos tan max min mod gcd lcm floor ceil abs sum prod lim choose"
)
UNIT_LETTERS = _words("a m g l h")
"""Single letters that are words or units rather than variables."""

CONVERTIBLE = _words(
    """second seconds sec minute minutes min mins hour hours hr hrs day days week weeks month
    months year years decade decades dozen dozens inch inches foot feet yard yards mile miles
    mm cm m meter meters metre metres km kilometer kilometers g gram grams kg kilogram
    kilograms mg ounce ounces oz pound pounds lb lbs ton tons cent cents dollar dollars penny
    pennies nickel nickels dime dimes quarter quarters liter liters litre litres ml milliliter
    milliliters cup cups pint pints quart quarts gallon gallons pair pairs score percent
    degree degrees"""
)
"""Units that people convert without saying so."""
