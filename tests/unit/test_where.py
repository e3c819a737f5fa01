"""The language that chooses runs: what it means, and that nothing but a clear error comes of anything else."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.errors import UsageError
from steno.store.where import MISSING, parse

RUN = {
    "state": "failed",
    "tags": ("baseline", "big"),
    "notes": "the first one",
    "config.lr": 1e-4,
    "config.layers": 12,
    "config.bias": True,
    "config.off": False,
    "config.betas": [0.9, 0.99],
    "val/acc.max": 0.93,
    "loss": math.nan,
    "top": math.inf,
    "odd name!": 1,
    "started": dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC),
    "big": 2**63,
}


def chosen(text, run=RUN):
    return parse(text).matches(lambda name: run.get(name, MISSING))


@pytest.mark.parametrize(
    "text",
    [
        'config.lr < 1e-3 and val/acc.max > 0.9 and "baseline" in tags',
        "config.lr == 0.0001",
        "config.lr == 1E-4",
        "config.layers == 12.0",
        "config.layers >= 12 and config.layers <= 12",
        "config.bias",
        "not config.off",
        "config.bias == true",
        "state in ['failed', \"crashed\"]",
        "state not in ['finished']",
        "'first' in notes",
        "'none' not in tags",
        "0.9 in config.betas",
        "`odd name!` == 1",
        "top > 1e308",
        "big == 9223372036854775808",
        "false or (config.bias and not (config.off or config.off))",
        "config.off or config.bias and config.bias",
        "state == 'failed' or nothing.here > 1",
        "started > '2026-11-01' and started < '2027-01-01T00:00:00+00:00'",
        "state=='failed'and(config.lr<1)",
        "state != 'finished'",
        "config.layers != '12'",
        "-1 < config.layers",
        "not loss < 1",
        "  config.bias  ",
        "'a\\'b' != state",
    ],
)
def test_what_is_chosen(text):
    assert chosen(text) is True


@pytest.mark.parametrize(
    "text",
    [
        # Missing and NaN compare false with everything, and are not true.
        "loss < 1", "loss >= 1", "loss == loss", "loss != 1", "loss", "loss in [1]", "loss not in [1]",
        "nothing == 1", "nothing != 1", "nothing in ['a']", "nothing not in ['a']", "nothing",
        # Types are never coerced.
        "config.layers == '12'", "config.bias == 1", "config.layers < 'z'", "state", "config.layers", "state < 3",
        "config.off == 0", "1 in notes", "true in [1]", "config.betas < 1", "tags == 'baseline'",
        "started > 'yesterday'", "config.layers in config.lr",
    ],
)  # fmt: skip
def test_what_is_not_chosen(text):
    assert chosen(text) is False


def test_and_binds_more_than_or_and_not_more_than_both():
    for a in (True, False):
        for b in (True, False):
            for c in (True, False):
                run = {"a": a, "b": b, "c": c}
                assert chosen("a or b and c", run) == (a or (b and c))
                assert chosen("not a and b or c", run) == ((not a and b) or c)
                assert chosen("not (a or b) and not c", run) == (not (a or b) and not c)


def test_the_names_that_are_asked_about():
    assert parse("a.b > 1 and `c d` in e/f or not true").names == {"a.b", "c d", "e/f"}


@pytest.mark.parametrize(
    ("text", "what", "at"),
    [
        ("", "the query ends", 1),
        ("config.lr <", "the query ends", 12),
        ("a = 1", "write '=='", 3),
        ("a == 'x", "does not end", 6),
        ("a == 1 b == 2", "'and' or 'or' is expected before 'b'", 8),
        ("(a == 1", "not closed", 8),
        ("a == 1)", "'and' or 'or' is expected before ')'", 7),
        ("1 < a < 3", "join them by 'and'", 7),
        ("a in [1, b]", "'b' is no value", 10),
        ("a in [1 2]", "',' or ']'", 9),
        ("a + 1 > 2", "no arithmetic", 3),
        ("a && b", "write 'and', 'or'", 3),
        ("1st > 2", "backticks", 1),
        ("a not 1", "'in' is expected", 7),
        ("and", "'and' is no value", 1),
        ("a == #", "'#' is not known", 6),
        ("(" * 200 + "a" + ")" * 200, "levels", 102),
        ("a " * 6000, "characters", None),
    ],
)
def test_an_error_points_at_the_place(text, what, at):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert what in str(error.value)
    assert at is None or f"at character {at}:" in str(error.value)


NAMES = st.sampled_from(["a", "b.c", "d/e", "config.lr", "`x y`"])
LITERALS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
    st.sampled_from(["true", "false"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
)


@given(LITERALS)
def test_a_literal_is_what_it_says(literal):
    wanted = {"true": True, "false": False}.get(literal)
    if wanted is None and literal[0] != '"':
        wanted = float(literal) if any(char in literal for char in ".e") else int(literal)
    if wanted is None:
        wanted = literal[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    assert chosen(f"a == {literal}", {"a": wanted})
    assert not chosen(f"a != {literal}", {"a": wanted})


QUERIES = st.recursive(
    st.builds(lambda name, sign, value: (f"{name} {sign} {value}"), NAMES, st.sampled_from(["==", "!=", "<", ">=", "in"]), LITERALS)
    | NAMES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner), st.builds("({} or {})".format, inner, inner), st.builds("not ({})".format, inner)
    ),
    max_leaves=20,
)  # fmt: skip


@given(
    QUERIES,
    st.dictionaries(
        st.sampled_from(["a", "b.c", "d/e", "config.lr", "x y"]),
        st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.lists(st.integers())),
    ),
)
def test_a_query_and_its_negation_divide_all_runs(query, run):  # fmt: skip
    assert chosen(query, run) == (not chosen(f"not ({query})", run))


PIECES = [*"ab1.e-+/()[]<>=!'\"`\\, \n", "and ", "or ", "not ", "in ", "true "]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=40))
def test_anything_else_is_one_clear_error(text):  # fmt: skip
    try:
        found = parse(text)
    except UsageError as error:
        said = str(error)
    else:
        said = f"where: {found.matches(lambda _: MISSING)}"
    assert said.startswith("where: ")


def test_numbers_of_thousands_of_digits_are_compared_as_they_are():
    """Python's own reading of a number refuses them."""
    assert parse(f"x < {'9' * 5000}").matches({"x": 2**64}.get)
    assert parse(f"x > -{'9' * 5000}").matches({"x": -1e308}.get)
    assert not parse(f"x == {'9' * 5000}").matches({"x": math.inf}.get)
