"""Heads are read in every form in which people write them, and tokens are written so that they can be seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtools.errors import HookError
from nbtools.naming import head_label, parse_head, parse_heads, visible


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_label_reads_back_as_the_head_it_names(layer, head):
    assert parse_head(head_label(layer, head)) == (layer, head)


@pytest.mark.parametrize("head", ["18.6", " 18.6 ", (18, 6), [18, 6], (np.int64(18), np.int32(6))])
def test_a_head_can_be_written_in_several_ways(head):
    assert parse_head(head) == (18, 6)


@pytest.mark.parametrize("head", ["18", "18.6.1", "a.b", "-1.2", "", 18, (1, 2, 3), (1.5, 2), None, {"layer": 1}])
def test_what_is_not_a_head_is_refused_with_an_example(head):
    with pytest.raises(HookError, match=r'expected a head such as "18\.6"'):
        parse_head(head)


def test_a_head_outside_the_model_is_refused_with_the_bounds():
    with pytest.raises(HookError, match="layers 0 to 29 and heads 0 to 8"):
        parse_head("30.0", shape=(30, 9))
    with pytest.raises(HookError):
        parse_head((0, -1), shape=(30, 9))


def test_one_head_or_several_are_read():
    assert parse_heads("1.2") == parse_heads((1, 2)) == parse_heads(["1.2"]) == [(1, 2)]
    assert parse_heads([(0, 1), "2.3"]) == [(0, 1), (2, 3)]
    assert parse_heads([]) == []


def test_white_space_can_be_seen():
    assert visible(" a\tb\r\n") == "·a⇥b␍↵"
