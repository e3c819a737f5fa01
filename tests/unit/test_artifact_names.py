"""Names of artifacts: fields are filled in once, nothing leads out of the run, and what a name means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steno import UsageError
from steno.artifacts import names
from steno.artifacts.meanings import Meaning, Names

VALUES = {"run_name": "digits-{rank}", "rank": 3, "world_size": 8, "step": 42, "epoch": None}


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("model.pt", "model.pt"),
        ("ep/{step}-rank{rank}", "ep/42-rank3"),
        ("{step:06d}", "000042"),
        ("{rank}{rank}", "33"),
        ("{run_name}", "digits-{rank}"),  # what is put in is not looked at again
        ("{{step}}", "{step}"),
        ("{{step:03d}}", "{step:03d}"),
        ("{{{step}}}", "{{step}}"),
        ("{{unknown}}", "{unknown}"),
        ("{}", "{}"),
        ("{0}", "{0}"),
        ("{a b}", "{a b}"),
        ("{step", "{step"),
        ("step}", "step}"),
        ("{{}}", "{{}}"),
        ('{"lr": {"a": 1}}', '{"lr": {"a": 1}}'),
        ("{step.real}", "{step.real}"),
        ("{step[0]}", "{step[0]}"),
        ("{step!r}", "{step!r}"),
    ],
)
def test_fields_are_filled_in_and_other_braces_stand_for_themselves(template, name):
    assert names.formatted(template, VALUES) == name


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{seed}", "unknown field {seed}"),
        ("{epoch}", r"{epoch}, which has no value.*run\.event"),
        ("{batch}", "no value"),
        ("{node_rank}", "the launcher does not tell it"),
        ("{step:q}", "cannot be formatted"),
    ],
)
def test_a_field_that_cannot_be_filled_in_is_an_error(template, says):
    with pytest.raises(UsageError, match=says):
        names.formatted(template, VALUES)


@given(st.text())
def test_text_without_a_field_is_left_alone_or_refused(text):
    try:
        out = names.formatted(text, {})
    except UsageError:
        assert "{" in text
    else:
        assert out == text or "{{" in text


@given(st.text(max_size=40), st.integers())
def test_a_value_is_never_formatted_again(text, number):
    assert names.formatted("{run_name}/{step}", {"run_name": text, "step": number}) == f"{text}/{number}"


@given(st.text(alphabet=st.sampled_from("ab./\\{}~ \0\n\u00e9\ud800"), max_size=12))
def test_an_accepted_name_stays_below_any_directory(text):
    try:
        names.checked(text)
    except UsageError:
        return
    import posixpath

    assert posixpath.normpath(posixpath.join("/run/here", text)) == f"/run/here/{text}"
    assert text.encode()


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb", "x" * 1025, "\udcff"]
)
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(UsageError, match="cannot be named"):
        names.checked(name)


def test_a_name_means_what_it_was_given_last_until_that_comes_to_nothing():
    known = Names()
    known.enter(Meaning("1", "a"))
    known.confirm("1")
    known.enter(Meaning("2", "a"))
    known.enter(Meaning("3", "a"))
    known.drop("2")
    assert known.get("a").id == "3"
    known.drop("3")
    assert known.get("a").id == "1"
    known.enter(Meaning("4", "b"))
    known.drop("4")
    assert known.get("b") is None


def test_aliases_are_followed_and_rings_end():
    known = Names()
    known.enter(Meaning("1", "a"))
    known.enter(Meaning("2", "latest", "a"))
    known.enter(Meaning("3", "best", "latest"))
    assert known.follow("best").id == "1"
    assert known.leads_to("best", "a")
    assert known.leads_to("a", "a")
    assert not known.leads_to("a", "best")
    known.enter(Meaning("4", "a", "best"))  # two processes at once may do that
    assert known.follow("best") is None
    assert not known.leads_to("best", "other")


def test_a_rewind_frees_the_names_of_hidden_steps():
    known = Names([(2, 10)])
    for step in (5, 10, None):
        known.enter(Meaning(f"1/{step}", f"ckpt-{step}", step=step, attempt=1))
    assert [known.get(f"ckpt-{step}") is None for step in (5, 10, None)] == [False, True, False]
    known.enter(Meaning("2/10", "ckpt-10", step=10, attempt=2))
    assert known.get("ckpt-10").id == "2/10"
