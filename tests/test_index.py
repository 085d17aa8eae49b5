"""The names that ``import tumortrace`` offers."""

from __future__ import annotations

import pytest

import tumortrace
from tumortrace.data.slice_file import read_slice
from tumortrace.inference.predict import predict


def test_the_index_hands_out_the_very_functions():
    assert tumortrace.read_slice is read_slice
    assert tumortrace.predict is predict


def test_every_name_of_the_index_is_there():
    for name in tumortrace._HOME:
        assert callable(getattr(tumortrace, name))


def test_a_notebook_can_complete_every_name():
    assert set(tumortrace._HOME) <= set(dir(tumortrace))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tumortrace' has no attribute 'nosuch'"):
        _ = tumortrace.nosuch
