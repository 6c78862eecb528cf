"""Words and signs that the token reader knows, by what they do in arithmetic."""

OPERATORS = {"×": "*", "·": "*", "∙": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "—": "-"}
LATEX_OPERATORS = {r"\times": "*", r"\cdot": "*", r"\ast": "*", r"\div": "/"}
LATEX_SILENT = frozenset(
    r"\left \right \boxed \displaystyle \quad \qquad \big \Big \bigl \bigr \fbox".split()
)
WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*", "multiplied": "*", "divided": "/"}
EQUALITY_WORDS = frozenset(
    "is are was were equals equal gives makes yields totals leaves give make leave".split()
)
AFTER_EQUALITY = frozenset("approximately about roughly exactly just only us equal to now".split())
AFTER_MULTIPLE = frozenset("the his her their its of those these all remaining that".split())
STOP_WORDS = frozenset(
    """and or but so then thus hence therefore because since if when while as than that which who
    where what how the she he it they we you i this there these those will would can could should
    may must has have had having do does did get gets got need needs make made take takes took
    goes went go spends spent spend pays paid pay earns earned earn sells sold sell buys bought buy
    costs cost find find found let lets we'll now first next finally also with after before until
    from into not no yes wait leaving giving leaves left means step answer was be been being lost
    gained ate eats used uses gave see know calculate add subtract multiply divide total""".split()
)
FUNCTIONS = frozenset(
    "sqrt log ln exp sin cos tan max min mod gcd lcm floor ceil abs sum prod lim choose".split()
)
UNIT_LETTERS = frozenset("amglhs")
