"""The bundled rollouts: their schema, outcomes, gold annotations and styles."""

import ast
import json
import operator
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.resources import files
from itertools import combinations, permutations
from math import ceil
from typing import Any

import pytest

LINES = files("dca.demo").joinpath("rollouts.jsonl").read_bytes().decode().split("\n")
ROLLOUTS: list[dict[str, Any]] = [json.loads(line) for line in LINES if line]
BY_ID = {rollout["id"]: rollout for rollout in ROLLOUTS}
GROUPS: dict[str, list[dict[str, Any]]] = defaultdict(list)
for _rollout in ROLLOUTS:
    GROUPS[_rollout["group"]].append(_rollout)

RUNNERS = ("Ines", "Jarek", "Kofi", "Lin", "Mato")


def trios() -> int:
    singers = ["alto"] * 5 + ["soprano"] * 4
    return sum(len(set(trio)) == 2 for trio in combinations(singers, 3))


def matching_socks() -> Fraction:
    pairs = list(combinations(["black"] * 6 + ["grey"] * 4, 2))
    return Fraction(sum(one == other for one, other in pairs), len(pairs))


def third_runner() -> str:
    def fits(ines: int, jarek: int, kofi: int, lin: int, mato: int) -> bool:
        return kofi == ines + 1 and kofi < lin < jarek and 1 < mato < lin

    orders = [ranks for ranks in permutations(range(1, 6)) if fits(*ranks)]
    assert len(orders) == 1
    return RUNNERS[orders[0].index(3)]


SOLUTIONS: dict[str, Fraction | str] = {
    "bakery": Fraction((14 - 3) * 24, 6) * Fraction("3.5"),
    "aquarium": 20 + Fraction(1800 - 20 * (45 - 9), 45 - 9 + 24),
    "choir": Fraction(trios()),
    "jacket": 80 * Fraction("1.25") * Fraction("0.7") - 5,
    "garden": (12 + 2 * Fraction("1.5")) * (9 + 2 * Fraction("1.5")) - 12 * 9,
    "race": third_runner(),
    "ferry": Fraction(9 * 60 + 35 + (60 + 50) + 25 + (2 * 60 + 15) + 40),
    "paint": (3 + 5) * min(Fraction(12, 3), Fraction(15, 5)),
    "nursery": (18 * 35 * Fraction("0.8") - 6 * 12) * Fraction("0.75"),
    "cyclist": (30 + 30) / (Fraction(30, 15) + Fraction(30, 10)),
    "meter": Fraction(1630 - 47 * 20, 50 - 20),
    "socks": matching_socks(),
    "kettle": 2 * Fraction(6, 60) * 4 * 30 * Fraction("0.32"),
    "honey": 96 * Fraction(3, 4) * Fraction(1, 3) / 8,
    "tea": 240 - 240 * Fraction(3, 8) * (1 + Fraction("0.8")),
    "envelopes": (240 - Fraction("1.5") * (Fraction(240, 6) + Fraction(240, 4))) / 40,
    "buses": Fraction(ceil((187 + 14) / 48) * 310 - 187 * 5),
}
"""The answer of each problem, worked out again from its numbers; clock times in minutes."""

WRONG_EQUATIONS = {
    ("bakery-3", "11*24=244"),
    ("bakery-5", "11*24=254"),
    ("bakery-5", "(254)/(6)=44"),
    ("choir-5", "504/6=74"),
    ("nursery-5", "432*0.75=342"),
    ("tea-4", "240*3/8=80"),
    ("envelopes-1", "240-150=80"),
    ("buses-5", "187+14=211"),
}
"""Every false equation between plain numbers; all others in the file must be true."""

LUCKY = {"bakery-5", "jacket-4", "race-4", "buses-5"}

STYLES: dict[str, tuple[int, Callable[[str], bool]]] = {
    "terse": (12, lambda text: len(text) <= 100),
    "long": (5, lambda text: len(text) >= 900),
    "think tags": (14, lambda text: text.startswith("<think>\n")),
    "latex": (12, lambda text: "\\boxed{" in text),
    "numbered list": (3, lambda text: bool(re.search(r"^1\. ", text, re.MULTILINE))),
    "bullets": (6, lambda text: bool(re.search(r"^\s*[-*] ", text, re.MULTILINE))),
    "headings": (4, lambda text: bool(re.search(r"^#{1,3} ", text, re.MULTILINE))),
    "table": (2, lambda text: "|---|" in text),
    "algebra": (5, lambda text: bool(re.search(r"\d[xyt]\b", text))),
    "backtracking": (8, lambda text: bool(re.search(r"\b([Ww]ait|Hmm|No, |no, |non, )", text))),
    "emoji": (2, lambda text: any(unicodedata.category(char) == "So" for char in text)),
    "german": (3, lambda text: bool(re.search(r"\b(Setzlinge[n ]|nimmt)", text))),
    "french": (3, lambda text: bool(re.search(r"\b(vendu?|remplit)\b", text))),
    "spanish": (1, lambda text: "Respuesta" in text),
    "chinese": (3, lambda text: "\u7b2c\u4e09\u5929" in text),
    "truncated": (1, lambda text: text.startswith("<think>") and "</think>" not in text),
}
"""For each style the fewest completions wanted and how to tell it."""

NUMBER = r"[0-9]+(?:[.,:/][0-9]+)*"
TERM = r"\(*[0-9]+(?:\.[0-9]+)?\)*"
SIDE = rf"{TERM}(?: ?[-+*/] ?{TERM})*"
EQUATION = re.compile(
    rf"(?<![0-9a-z.:()*+/-])(?<![-+*/] )({SIDE}) ?= ?(?=({SIDE})(?![0-9a-z:(]|\.[0-9]| ?[-+*/]))"
)
OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value(text: str) -> Fraction | str:
    """Return a number, a fraction, or a clock time in minutes; any other text as it is."""
    text = re.sub(r"\\frac\{([0-9]+)\}\{([0-9]+)\}", r"\1/\2", text)
    if clock := re.fullmatch(r"([0-9]+):([0-9]{2})", text):
        return Fraction(60 * int(clock[1]) + int(clock[2]))
    return Fraction(text.replace(",", ".")) if re.fullmatch(NUMBER, text) else text


def final_answer(completion: str, group: str) -> Fraction | str | None:
    """Read the answer as a verifier would: the box, else bold in the last line, else the last."""
    if completion.startswith("<think>") and "</think>" not in completion:
        return None
    answer = "|".join(RUNNERS) if group == "race" else NUMBER
    if boxes := re.findall(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}", completion):
        return value(boxes[-1])
    bold = " ".join(re.findall(r"\*\*(.+?)\*\*", completion.splitlines()[-1]))
    return value((re.findall(answer, bold) or re.findall(answer, completion))[-1])


def plain(completion: str) -> str:
    """Spell arithmetic in ASCII: LaTeX, typographic operators and decimal commas."""
    text = re.sub(r"\\frac\{([^{}]+)\}\{([^{}]+)\}", r"(\1)/(\2)", completion)
    text = re.sub(r"\\times|\\cdot|×|·", "*", text).replace("−", "-").replace("÷", "/")
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3}\b)", "", text)
    return re.sub(r"(?<=[0-9]),(?=[0-9])", ".", text)


def worked(side: str) -> Fraction | None:
    """Evaluate sums and products of literals exactly; ``None`` when brackets do not match."""

    def visit(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](visit(node.left), visit(node.right))
        return Fraction(ast.unparse(node))

    try:
        return visit(ast.parse(side, mode="eval").body)
    except SyntaxError:
        return None


def equations(completion: str) -> Iterator[tuple[str, bool]]:
    """Yield each equation between plain numbers and whether it holds to the digits shown."""
    for match in EQUATION.finditer(plain(completion)):
        left, right = worked(match[1]), worked(match[2])
        if left is None or right is None or not re.search(r"[-+*/]", match[1] + match[2]):
            continue
        slack = 10 ** -len(match[2].partition(".")[2]) if left.denominator > 1 else 0
        holds = left == right or abs(left - right) < slack
        yield f"{match[1]}={match[2]}".replace(" ", ""), holds


def test_every_rollout_has_the_columns_of_the_format():
    strings = ("id", "group", "task", "prompt", "completion", "truth", "model")
    for rollout in ROLLOUTS:
        assert set(rollout) == {*strings, "reward", "gold"}
        assert all(isinstance(rollout[name], str) and rollout[name] for name in strings)
        assert rollout["reward"] in (0.0, 1.0)
        assert re.fullmatch(rf"{rollout['group']}-[1-5]", rollout["id"])
        assert re.fullmatch(r"policy-[a-e]", rollout["model"])


def test_ids_and_completions_are_all_different():
    assert len(BY_ID) == len(ROLLOUTS)
    assert len({rollout["completion"] for rollout in ROLLOUTS}) == len(ROLLOUTS)


def test_the_file_ends_with_a_newline_and_holds_no_control_characters():
    assert LINES[-1] == ""
    assert "" not in LINES[:-1]
    for rollout in ROLLOUTS:
        text = rollout["prompt"] + rollout["completion"]
        strange = {char for char in text if unicodedata.category(char) in {"Cc", "Cs", "Co"}}
        assert strange <= {"\n"}
        assert rollout["completion"] == rollout["completion"].strip()


def test_each_problem_has_five_attempts_and_both_outcomes():
    assert len(GROUPS) >= 15
    assert set(GROUPS) == set(SOLUTIONS)
    for rollouts in GROUPS.values():
        assert len(rollouts) == 5
        assert 2 <= sum(rollout["reward"] for rollout in rollouts) <= 4
        for name in ("task", "prompt", "truth"):
            assert len({rollout[name] for rollout in rollouts}) == 1


def test_all_counts_of_successes_and_all_policies_occur():
    assert {sum(r["reward"] for r in rollouts) for rollouts in GROUPS.values()} == {2, 3, 4}
    assert len({rollout["model"] for rollout in ROLLOUTS}) == 5
    assert len({rollout["task"] for rollout in ROLLOUTS}) >= 10


@pytest.mark.parametrize("group", sorted(SOLUTIONS))
def test_the_truth_is_the_solution_worked_out_from_the_numbers_of_the_problem(group: str):
    assert value(GROUPS[group][0]["truth"]) == SOLUTIONS[group]


@pytest.mark.parametrize("rollout_id", sorted(BY_ID))
def test_the_final_answer_is_the_truth_exactly_when_the_reward_is_one(rollout_id: str):
    rollout = BY_ID[rollout_id]
    answer = final_answer(rollout["completion"], rollout["group"])
    assert (answer == SOLUTIONS[rollout["group"]]) == (rollout["reward"] == 1)


def test_gold_quotes_occur_exactly_once():
    for rollout in ROLLOUTS:
        gold = rollout["gold"]
        assert set(gold) == {"blame", "sound", "idle", "decisive"}
        quotes = [*gold["idle"], *filter(None, (gold["blame"], gold["decisive"]))]
        assert all(rollout["completion"].count(quote) == 1 for quote in quotes), rollout["id"]


def test_failures_have_a_blamed_step_and_successes_a_verdict():
    without_blame = {r["id"] for r in ROLLOUTS if r["reward"] == 0 and not r["gold"]["blame"]}
    assert without_blame == {"kettle-3"}
    assert all(r["gold"]["blame"] is None for r in ROLLOUTS if r["reward"] == 1)
    assert all(r["gold"]["sound"] is None for r in ROLLOUTS if r["reward"] == 0)
    unsure = {r["id"] for r in ROLLOUTS if r["reward"] == 1 and r["gold"]["sound"] is None}
    assert unsure == {"race-2"}


def test_the_lucky_answers_are_unsound_and_have_no_decisive_step():
    assert {r["id"] for r in ROLLOUTS if r["gold"]["sound"] is False} == LUCKY
    assert all(BY_ID[lucky]["gold"]["decisive"] is None for lucky in LUCKY)
    sound = [r for r in ROLLOUTS if r["gold"]["sound"]]
    assert all(r["gold"]["decisive"] for r in sound)


def test_false_equations_are_exactly_the_intended_ones():
    checked = [(r["id"], *found) for r in ROLLOUTS for found in equations(r["completion"])]
    assert len(checked) > 200
    assert {(name, text) for name, text, holds in checked if not holds} == WRONG_EQUATIONS


def test_a_false_equation_in_a_failure_is_not_before_its_blamed_step():
    for name, equation in WRONG_EQUATIONS:
        blame = BY_ID[name]["gold"]["blame"]
        if blame is not None:
            text = plain(BY_ID[name]["completion"]).replace(" ", "")
            assert text.index(equation) >= text.index(plain(blame).replace(" ", ""))


@pytest.mark.parametrize("style", sorted(STYLES))
def test_each_style_is_there(style: str):
    fewest, has_style = STYLES[style]
    assert sum(has_style(rollout["completion"]) for rollout in ROLLOUTS) >= fewest


def test_lengths_run_from_a_bare_answer_to_a_long_chain():
    lengths = sorted(len(rollout["completion"]) for rollout in ROLLOUTS)
    assert lengths[0] == 10
    assert 1300 < lengths[-1] <= 1500
