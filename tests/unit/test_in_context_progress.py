"""Measures of progress on in-context classification are what their formulas say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbtools.training import (
    IN_CONTEXT_MEASURES,
    ClassifierConfig,
    InContextClassifier,
    InContextProgress,
    MinimalInduction,
    in_context,
)

DATA = in_context(classes=16, labels=8, pairs=4, dimensions=24, most_pairs=4, noise=0.0)
CONFIG = ClassifierConfig(places=9, dimensions=24, labels=8, d_mlp=16)
PROGRESS = InContextProgress(DATA, sequences=40)


def test_every_measure_is_given_once_for_one_network_and_for_each_of_several():
    one = PROGRESS(InContextClassifier(CONFIG, seeds=2))
    several = PROGRESS(InContextClassifier(CONFIG, seeds=[1, 2]))
    assert set(one) == set(IN_CONTEXT_MEASURES) and all(isinstance(value, float) for value in one.values())
    for name, values in several.items():
        assert values.shape == (2,) and values[1] == pytest.approx(one[name], abs=1e-5)


def test_attention_is_measured_where_the_formulas_say():
    model, episodes = InContextClassifier(CONFIG, seeds=4), PROGRESS.episodes["novel"]
    first, second = model.attention(episodes.tokens)
    found = PROGRESS(model)
    pairs = range(4)
    assert found["item_label"] == pytest.approx(np.mean([first[:, 2 * j + 1, 2 * j].mean().item() for j in pairs]))
    right = [
        sum(row[2 * j + 1].item() for j in pairs if same[j])
        for row, same in zip(second, episodes.matching, strict=True)
    ]
    assert found["target_label"] == pytest.approx(np.mean(right), abs=1e-6)
    assert found["any_label"] == pytest.approx(second[:, 1::2].sum(1).mean().item(), abs=1e-6)


def test_who_says_always_the_same_label_is_right_as_often_as_it_comes():
    model = InContextClassifier(CONFIG)
    with torch.no_grad():
        model.classify.W_U.zero_()
        model.classify.W_U[:, 3] = 1.0
        model.classify.layers[-1].b.fill_(10.0)
    found, novel = PROGRESS(model), PROGRESS.episodes["novel"]
    assert found["in_context"] == pytest.approx((novel.answer == 3).float().mean().item())
    assert found["context_label"] == pytest.approx((novel.context == 3).any(1).float().mean().item())
    assert found["in_weights"] == pytest.approx((PROGRESS.episodes["weights"].answer == 3).float().mean().item())


def test_a_perfect_induction_head_is_measured_as_one():
    found = PROGRESS(MinimalInduction(CONFIG, start=(40.0, 60.0)))
    assert found["item_label"] > 0.999 and found["target_label"] > 0.8
