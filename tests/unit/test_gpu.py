"""What makes tensors of its own makes them where the model is: the same numbers on a GPU as on the CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from nbtools import measures, patching
from nbtools.training import SINK_MEASURES, TinyConfig, Training, bigram_backcopy
from tests.families import FAMILIES, _hooked, _module, _rough
from tests.unit.test_circuits import task_of

pytestmark = pytest.mark.gpu


@pytest.fixture
def models():
    """Give one small model twice: on the CPU, and on the GPU."""
    module = _rough(_module(*FAMILIES["Llama with groups"]))
    twice = [_hooked(copy.deepcopy(module), "Llama") for _ in range(2)]
    return twice[0], twice[1].to("cuda")


CALLS = {
    "ablation": lambda model, task: (
        measures.score(
            model, task, edit=patching.ablation(model, "z", heads=["1.0", "2.3"], positions=[-1, 2])
        ).logit_difference
    ),
    "forced attention": lambda model, task: (
        measures.score(
            model, task, edit=lambda part: patching.force_attention(model, part, "1.2", ["A", "B"])
        ).logit_difference
    ),
    "patch": lambda model, task: patching.patch(model, task, "resid_pre"),
    "paths": lambda model, task: patching.path_patch(model, task, receivers="3.1", through="v"),
    "estimate of paths": lambda model, task: patching.path_attribute(model, task),
    "circuit": lambda model, task: (
        patching.faithfulness(
            model, task, patching.Circuit([patching.Node("1.0", "B"), patching.Node("mlp2", "END")]), instead="mean"
        ).circuit
    ),
    "attention": lambda model, task: measures.attention_to_positions(model, task.clean, task.positions, keys=["A"]),
    "attribution": lambda model, task: patching.attribute(model, task, "z"),
    "rounding": lambda model, task: measures.surprise(
        model, task.clean, edit=patching.quantize(model, bits=12, dimensions=[3], positions=[0])
    ).fillna(0),
    "sink": lambda model, task: patching.sink_costs(
        model, task.clean, kinds=["emptied", "hidden", "clamped"], start=2, dimensions=[3]
    ).to_array(),
    "dormancy": lambda model, task: measures.dormancy(model, task.clean, ["1.0", "2.3"])[
        ["forced", "ablated"]
    ].to_array(),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_gpu_gives_what_the_cpu_gives(models, name):
    found = [CALLS[name](model, task_of(model)) for model in models]
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)


def test_a_patched_direction_may_come_from_the_cpu():
    base, source = torch.randn(2, 5, 8, device="cuda")
    assert patching.patch_subspace(base, source, torch.eye(8)[:, :2]).device == base.device


def test_a_small_model_trains_on_the_gpu_as_on_the_cpu():
    found = []
    for device in ("cpu", "cuda"):
        training = Training(TinyConfig(), bigram_backcopy(), steps=20, batch=4, measure_every=10)
        training.model.to(device)
        found.append([progress.measures for progress in training])
    for name in SINK_MEASURES:
        measured = [np.array([measures[name] for measures in run]) for run in found]
        np.testing.assert_allclose(measured[1], measured[0], rtol=0.05, atol=0.02, err_msg=name)
