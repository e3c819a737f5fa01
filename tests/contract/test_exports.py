"""The public list is exact, sorted, and its names live in `steno`."""

from __future__ import annotations

import pytest

import steno

MODULES_OF_OURS = {"steno"}


def test_the_list_is_sorted_and_has_no_duplicates():
    assert list(steno.__all__) == sorted(set(steno.__all__))


def test_the_list_is_what_can_be_loaded():
    assert set(steno.__all__) == {*steno._HOME, "__version__"}


@pytest.mark.parametrize("name", steno.__all__)
def test_each_name_loads_and_says_steno(name):
    value = getattr(steno, name)
    assert getattr(steno, name) is value
    if isinstance(value, type) or callable(value):
        assert value.__module__ == "steno"


def test_no_public_name_is_a_module_as_well():
    """A submodule of that name would hide it as soon as it is imported."""
    from importlib.util import find_spec

    assert [name for name in steno.__all__ if find_spec(f"steno.{name}") is not None] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        steno.nonsense  # noqa: B018


def test_dir_lists_the_public_names():
    assert set(steno.__all__) <= set(dir(steno))


def test_errors_say_the_name_that_users_can_import():
    assert str(steno.UsageError) == "<class 'steno.UsageError'>"
