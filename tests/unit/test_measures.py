"""Measures are what their definitions say, and what plain transformers computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbtools import measures
from nbtools.errors import HookError, InputError
from nbtools.measures import attention_to, entropy, keys_duplicate, keys_first, keys_induction, keys_previous
from nbtools.tasks import repeated_tokens

IDS = torch.tensor([[4, 9, 4, 9, 7]])


def uniform(ids: torch.Tensor, heads: int = 2) -> torch.Tensor:
    n = ids.shape[1]
    rows = torch.tril(torch.ones(n, n)) / torch.arange(1, n + 1).unsqueeze(1)
    return rows.expand(ids.shape[0], heads, n, n)


def marked(marks: torch.Tensor) -> set[tuple[int, int]]:
    return {(int(q), int(k)) for q, k in marks[0].nonzero()}


def test_previous_marks_the_diagonal_below():
    assert marked(keys_previous(IDS)) == {(1, 0), (2, 1), (3, 2), (4, 3)}


def test_first_marks_the_first_key_for_all_later_queries():
    assert marked(keys_first(IDS)) == {(1, 0), (2, 0), (3, 0), (4, 0)}


def test_duplicate_marks_earlier_equal_tokens():
    assert marked(keys_duplicate(IDS)) == {(2, 0), (3, 1)}


def test_induction_marks_what_followed_an_earlier_equal_token():
    assert marked(keys_induction(IDS)) == {(2, 1), (3, 2)}


def test_induction_never_marks_the_query_itself():
    assert marked(keys_induction(torch.tensor([[5, 5, 5]]))) == {(2, 1)}


def test_scores_agree_with_a_loop_over_the_definition():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 4, (3, 9), generator=generator)
    pattern = torch.rand(3, 2, 9, 9, generator=generator).tril()
    for keys in (keys_previous, keys_first, keys_duplicate, keys_induction):
        marks = keys(ids)
        for head in range(2):
            paid = [
                sum(float(pattern[p, head, q, k]) for k in range(9) if marks[p, q, k])
                for p in range(3)
                for q in range(9)
                if marks[p, q].any()
            ]
            assert float(attention_to(pattern, marks)[head]) == pytest.approx(np.mean(paid), abs=1e-6)


def test_scores_of_uniform_attention_are_known():
    pattern = uniform(IDS)
    assert attention_to(pattern, keys_previous(IDS)).tolist() == pytest.approx(
        [np.mean([1 / 2, 1 / 3, 1 / 4, 1 / 5])] * 2
    )
    assert entropy(pattern).tolist() == pytest.approx([np.mean(np.log([2, 3, 4, 5]))] * 2)


def test_a_score_without_a_single_marked_key_is_undefined():
    assert attention_to(uniform(torch.tensor([[1, 2, 3]])), keys_induction(torch.tensor([[1, 2, 3]]))).isnan().all()


def test_attention_is_labelled_causal_and_sums_to_one(tiny):
    pattern = measures.attention(tiny, [1, 2, 3, 4, 5])
    assert pattern.dims == ("layer", "head", "query", "key")
    assert pattern.shape == (3, 4, 5, 5)
    np.testing.assert_allclose(pattern.sum("key"), 1, atol=1e-6)
    assert np.triu(pattern.values, 1).max() == 0
    assert list(pattern.key_token.values) == ["1", "2", "3", "4", "5"]


def test_several_prompts_add_a_dimension_and_layers_can_be_chosen(tiny):
    pattern = measures.attention(tiny, [[1, 2, 3], [4, 5, 6]], layers=[2, -3])
    assert pattern.dims == ("prompt", "layer", "head", "query", "key")
    assert list(pattern.layer.values) == [2, 0]
    np.testing.assert_allclose(
        pattern.isel(prompt=1).sel(layer=2), measures.attention(tiny, [4, 5, 6]).sel(layer=2), atol=1e-6
    )


def test_attention_equals_that_of_transformers():
    from tests.conftest import _module, tiny_bridge

    for family in ("llama", "gpt2"):
        bridge = tiny_bridge(family)
        torch.manual_seed(0)
        plain, _ = _module(family)
        with torch.no_grad():
            expected = plain.eval()(IDS, output_attentions=True).attentions
        pattern = measures.attention(bridge, IDS[0])
        np.testing.assert_allclose(pattern.values, torch.cat(expected).numpy(), atol=1e-6)


def test_head_scores_are_those_of_the_patterns(tiny):
    ids = repeated_tokens(tiny, length=7, prompts=3)
    scores = measures.head_scores(tiny, ids)
    patterns = torch.tensor(measures.attention(tiny, ids).transpose("layer", "prompt", "head", "query", "key").values)
    for layer in range(3):
        expected = attention_to(patterns[layer], keys_induction(ids))
        np.testing.assert_allclose(scores.induction.sel(layer=layer), expected, atol=1e-6)
    assert set(scores) == set(measures.HEAD_MEASURES)
    assert scores.induction.dims == ("layer", "head")
    assert scores.attrs["prompts"] == 3


def test_the_prefix_matching_score_on_one_repeat_is_the_shifted_diagonal(tiny):
    ids = repeated_tokens(tiny, length=8, prompts=2)
    pattern = measures.attention(tiny, ids)
    second = [pattern.sel(query=q, key=q - 7) for q in range(8, 16)]
    expected = np.mean(second, axis=(0, 1)) if second[0].dims[0] == "prompt" else None
    np.testing.assert_allclose(measures.head_scores(tiny, ids).induction, expected, atol=1e-6)


def test_next_token_gives_probabilities_in_order(tiny):
    top = measures.next_token(tiny, [1, 2, 3], top=4)
    assert top.dims == ("token",)
    assert (np.diff(top.values) <= 0).all()
    everything = measures.next_token(tiny, [1, 2, 3], top=None)
    assert float(everything.sum()) == pytest.approx(1, abs=1e-5)
    assert float(top[0]) == pytest.approx(float(everything.max()))
    assert measures.next_token(tiny, [1, 2, 3], position=0).attrs["position"] == 0


def test_surprise_is_the_negative_log_probability_of_what_came(tiny):
    nats = measures.surprise(tiny, [1, 2, 3])
    assert np.isnan(nats[0])
    for position, token in ((1, 2), (2, 3)):
        probability = float(measures.next_token(tiny, [1, 2, 3], position=position - 1, top=None)[token])
        assert float(nats[position]) == pytest.approx(-np.log(probability), abs=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda m: measures.head_scores(m, [1, 2], measures=["inducton"]), InputError, "expected any of induction"),
        (lambda m: measures.head_scores(m, [1, 2], measures=[]), InputError, "expected any of"),
        (lambda m: measures.head_scores(m, [1, 2], layers=3), HookError, "between 0 and 2"),
        (lambda m: measures.attention(m, [1, 2], layers=[-4]), HookError, "between 0 and 2"),
        (lambda m: measures.attention(m, [1] * 60, budget_mb=0.01), InputError, "raise budget_mb"),
        (lambda m: measures.next_token(m, [1, 2], position=2), InputError, "outside the prompt"),
        (lambda m: measures.next_token(m, [[1], [2]]), InputError, "expected one prompt"),
        (lambda m: measures.next_token(m, [1], top=0), InputError, "between 1 and"),
        (lambda m: repeated_tokens(m, length=0), InputError, "between 1 and"),
        (lambda m: repeated_tokens(m, length=40), InputError, "between 1 and 32"),
    ],
)
def test_bad_input_is_explained(tiny, call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(tiny)


def test_repeated_tokens_repeat_and_depend_on_the_seed_alone(tiny):
    ids = repeated_tokens(tiny, length=10, prompts=2, repeats=3, seed=1)
    assert ids.shape == (2, 30)
    assert torch.equal(ids[:, :10], ids[:, 20:])
    assert all(len(set(row[:10].tolist())) == 10 for row in ids)
    assert torch.equal(ids, repeated_tokens(tiny, length=10, prompts=2, repeats=3, seed=1))
    assert not torch.equal(ids, repeated_tokens(tiny, length=10, prompts=2, repeats=3, seed=2))


def test_each_prompt_has_its_own_scores_and_their_mean_is_that_of_all(tiny):
    ids = repeated_tokens(tiny, length=6, prompts=3)
    each, together = measures.head_scores(tiny, ids, average=False), measures.head_scores(tiny, ids)
    assert each.induction.dims == ("prompt", "layer", "head")
    for name in measures.HEAD_MEASURES:
        np.testing.assert_allclose(each[name].mean("prompt"), together[name], atol=1e-6)
        np.testing.assert_allclose(each[name][1], measures.head_scores(tiny, ids[1])[name], atol=1e-6)


def test_the_in_context_score_is_late_surprise_less_early_surprise(tiny):
    ids = repeated_tokens(tiny, length=6, prompts=3)
    nats = measures.surprise(tiny, ids).values
    found = measures.in_context_score(tiny, ids, early=2, late=7, width=4)
    np.testing.assert_allclose(found, nats[:, 7:11].mean(1) - nats[:, 2:6].mean(1), atol=1e-6)
    for wrong in ({"early": 0, "late": 3}, {"early": 5, "late": 5}, {"early": 1, "late": 9, "width": 4}):
        with pytest.raises(InputError, match="1 ≤ early < late"):
            measures.in_context_score(tiny, ids, **wrong)
