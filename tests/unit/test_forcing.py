"""Attention that is forced, tasks that are scored, and sweeps whose prompts do not fit into memory together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from nbtools import measures
from nbtools.errors import ArrayError, HookError, InputError
from nbtools.patching import force_attention, patch, path_patch, pooled, spread
from nbtools.runs import forward
from tests.conftest import hooks_left
from tests.families import bridge
from tests.unit.test_circuits import task_of


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "native"])
def test_only_the_chosen_rows_are_overwritten(family):
    model = bridge(family)
    task = task_of(model)
    edit = force_attention(model, task, ["2.0", "2.3", "1.1"], {"A": 0.75, 0: 0.25}, query="B")
    names = {layer: f"blocks.{layer}.attn.hook_pattern" for layer in (1, 2)}
    before = forward(model, task.clean, capture=list(names.values()))
    after = forward(model, task.clean, capture=list(names.values()), edit=edit)
    for prompt, place in enumerate(task.positions["B"]):
        row = after[names[2]][prompt, 0, place]
        assert row[2].item() == 0.75 and row[0].item() == 0.25 and row.sum().item() == 1
        assert after[names[2]][prompt, 3, place].equal(row)
    ours = before[names[1]].clone()
    for prompt, place in enumerate(task.positions["B"]):
        ours[prompt, 1, place] = torch.tensor([0.25, 0, 0.75, 0, 0, 0, 0, 0])
    assert after[names[1]].equal(ours) and not after.logits.equal(before.logits)
    assert hooks_left(model) == 0 and forward(model, task.clean).logits.equal(before.logits)


def test_attention_that_cannot_be_forced_is_refused():
    model = bridge("Llama")
    task = task_of(model)
    for wrong, message in (
        ({"heads": "1.0", "to": []}, "expected one position or more"),
        ({"heads": [], "to": "A"}, "expected one head or more"),
        ({"heads": "1.0", "to": {"A": 0.5, "B": 0.4}}, "add up to 1"),
        ({"heads": "1.0", "to": {"A": 1.5, "B": -0.5}}, "add up to 1"),
        ({"heads": "1.0", "to": "END", "query": "B"}, "prompt 0 would look ahead, from token 4 at 7"),
        ({"heads": "1.0", "to": "S2"}, "no position 'S2'"),
    ):
        with pytest.raises(InputError, match=message):
            force_attention(model, task, **wrong)
    with pytest.raises(HookError, match=r"9\.0 does not exist"):
        force_attention(model, task, "9.0", "A")
    edit = force_attention(model, task, "1.0", "A")
    with pytest.raises(ArrayError, match="expected prompts of the task"):
        forward(model, task[0].clean, edit=edit)
    assert hooks_left(model) == 0


@pytest.mark.parametrize("family", ["Llama", "GPT-2", "native"])
def test_the_last_logits_are_the_last_of_all(family):
    model = bridge(family)
    task = task_of(model)
    whole, last = (forward(model, task.clean, last=choice).logits for choice in (False, True))
    assert last.shape == (3, 1, 101)
    torch.testing.assert_close(last[:, 0], whole[:, -1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("family", ["Llama", "native"])
def test_scores_are_those_of_plain_runs_in_whatever_batches(family):
    model = bridge(family)
    task = task_of(model)
    logits = forward(model, task.clean).logits[:, -1]
    among = torch.tensor([[7, 8, 1], [7, 8, 1], [9, 10, 1]])
    found = [measures.score(model, task, among=among, batch=batch) for batch in (1, 2, 3)]
    for part in found[:2]:
        xr.testing.assert_allclose(part, found[2], atol=1e-5)
    np.testing.assert_allclose(found[2].logit_difference, task.metric(logits), atol=1e-5)
    np.testing.assert_allclose(found[2].probability, logits.softmax(-1)[range(3), task.answer], atol=1e-6)
    assert found[2].correct.values.tolist() == (logits.argmax(-1) == task.answer).float().tolist()
    best = logits.gather(1, among).argmax(1)
    assert found[2].chosen.values.tolist() == best.tolist()
    assert found[2].correct_among.values.tolist() == (best == 0).float().tolist()


def test_edits_can_be_made_for_each_part_of_a_task():
    model = bridge("Llama")
    task = task_of(model)
    edit = force_attention(model, task, "3.0", "B")
    together = measures.score(model, task, edit=edit, batch=3)
    by_part = measures.score(model, task, edit=lambda part: force_attention(model, part, "3.0", "B"), batch=1)
    np.testing.assert_allclose(together.logit_difference, by_part.logit_difference, atol=1e-5)
    with pytest.raises(ArrayError, match="expected prompts of the task"):
        measures.score(model, task, edit=edit, batch=1)
    for batch in (0, True, 1.5):
        with pytest.raises(InputError, match="expected a batch of one prompt or more"):
            measures.score(model, task, batch=batch)
    with pytest.raises(InputError, match="expected candidates"):
        measures.score(model, task, among=torch.tensor([[7, 8]]))


@pytest.mark.parametrize("engine", ["resumed", "hooks"])
def test_prompts_that_do_not_fit_into_memory_together_run_one_after_another(engine):
    model = bridge("Llama with groups")
    task = task_of(model)
    seen = []

    def metric(logits, prompt):
        seen.append(prompt.tolist())
        return task.metric(logits, prompt)

    for sweep in (
        lambda **options: patch(model, task, "resid_pre", **options),
        lambda **options: patch(model, task, "z", over=("position", "head"), positions=["A", "B"], **options),
        lambda **options: path_patch(model, task, positions="B", receivers=["3.0"], through="v", **options),
    ):
        whole, tight = (sweep(engine=engine, budget_mb=budget) for budget in (1024, 0.05))
        xr.testing.assert_allclose(tight, whole, atol=1e-5)
        seen.clear()
        xr.testing.assert_allclose(sweep(engine=engine, budget_mb=0.05, metric=metric), whole, atol=1e-5)
        assert {number for numbers in seen for number in numbers} == {0, 1, 2}
        assert max(len(set(numbers)) for numbers in seen) == 1


def test_prompts_count_by_what_could_change_in_them():
    ends = {"base": ("prompt", [4.0, 0.0, 2.0]), "source": ("prompt", [0.0, 0.1, -2.0])}
    effect = xr.DataArray([[0.5, 1.0], [-20.0, 0.0], [0.25, 0.0]], ends, ["prompt", "layer"])
    expected = (np.array([-2, -2, -1]) @ np.ones(3)) / -7.9, -4 / -7.9
    np.testing.assert_allclose(pooled(effect), expected, atol=1e-6)
    summary = spread(effect, pool=True)
    np.testing.assert_allclose(summary["mean"], expected, atol=1e-6)
    assert (
        (summary.low <= summary["mean"]).all()
        and (summary["mean"] <= summary.high).all()
        and (summary.stderr > 0).all()
    )
    with pytest.raises(InputError, match="the coordinates base and source"):
        pooled(effect.drop_vars("base"))
