"""Windows of text are what their kind says, the same for the same seed, and of one length."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest
import torch

from nbtools.errors import InputError, PromptError
from nbtools.tasks import WINDOW_KINDS, windows
from nbtools.tasks.windows import _code, _prose

pytestmark = pytest.mark.model


@pytest.mark.parametrize("kind", WINDOW_KINDS)
def test_windows_have_the_length_that_is_asked_for_and_no_two_are_alike(model, kind):
    ids = windows(model, kind, prompts=12, length=33)
    assert ids.shape == (12, 33) and len({tuple(row) for row in ids.tolist()}) == 12
    assert torch.equal(ids, windows(model, kind, prompts=12, length=33))
    assert not torch.equal(ids, windows(model, kind, prompts=12, length=33, seed=1))
    assert not set(ids.flatten().tolist()) & set(model.tokenizer.all_special_ids)


@pytest.mark.parametrize("kind", ["prose", "code"])
def test_there_are_more_than_a_hundred_windows_of_64_tokens(model, kind):
    assert len(windows(model, kind, prompts=128, length=64)) == 128


def test_repeats_are_prose_written_twice(model):
    ids = windows(model, "repeats", prompts=5, length=40)
    prose = windows(model, "prose", prompts=5, length=20)
    assert torch.equal(ids[:, :20], ids[:, 20:]) and torch.equal(ids[:, :20], prose)


def test_code_is_functions_that_can_be_read_again_without_what_is_written_about_them():
    for text in _code()[::50]:
        function = ast.parse(dedent(text)).body[0]
        assert isinstance(function, ast.FunctionDef) and ast.get_docstring(function) is None


def test_prose_is_sentences():
    for text in _prose():
        assert text[0].isupper() and text[-1] in ".:" and "\n" not in text and "    " not in text


def test_what_cannot_be_drawn_is_refused_with_what_can_be(model, tiny):
    with pytest.raises(InputError, match="one of prose, code, repeats, random, got 'verse'"):
        windows(model, "verse")
    with pytest.raises(InputError, match=r"expected 1 to \d+ windows of 64 tokens of prose, got prompts=5000"):
        windows(model, "prose", prompts=5000)
    with pytest.raises(InputError, match="windows of 64 tokens"):
        windows(model, "code", prompts=0)
    with pytest.raises(PromptError, match="repeated_tokens"):
        windows(tiny, "code")
