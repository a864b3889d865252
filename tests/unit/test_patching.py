"""Patches are exact: equal to TransformerLens's own, on many families, at every site, however they are cut up."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from transformer_lens import patching as lens

from nbtools.errors import HookError, InputError, SweepError
from nbtools.patching import SITES, Sweep, attribute, patch
from nbtools.patching.proof import prove
from nbtools.runs import forward
from nbtools.tasks import pair
from tests.conftest import hooks_left
from tests.families import FAMILIES, bridge, ungrouped

CLEAN = [5, 17, 3, 88, 17, 9, 40, 2]
CORRUPTED = [5, 17, 60, 88, 17, 9, 41, 2]  # they differ at 2 and at 6
NEVER_RESUMED = {"native"}

OFFICIAL = {
    ("resid_pre", None): lens.get_act_patch_resid_pre,
    ("resid_mid", None): lens.get_act_patch_resid_mid,
    ("attn_out", None): lens.get_act_patch_attn_out,
    ("mlp_out", None): lens.get_act_patch_mlp_out,
    ("z", ("head",)): lens.get_act_patch_attn_head_out_all_pos,
    ("q", ("head",)): lens.get_act_patch_attn_head_q_all_pos,
    ("k", ("head",)): lens.get_act_patch_attn_head_k_all_pos,
    ("v", ("head",)): lens.get_act_patch_attn_head_v_all_pos,
    ("pattern", ("head",)): lens.get_act_patch_attn_head_pattern_all_pos,
    ("z", ("position", "head")): lens.get_act_patch_attn_head_out_by_pos,
    ("q", ("position", "head")): lens.get_act_patch_attn_head_q_by_pos,
    ("k", ("position", "head")): lens.get_act_patch_attn_head_k_by_pos,
    ("v", ("position", "head")): lens.get_act_patch_attn_head_v_by_pos,
    ("pattern", ("head", "query")): lens.get_act_patch_attn_head_pattern_by_pos,
}


def task_of(model, clean=CLEAN, corrupted=CORRUPTED):
    return pair(model, clean, corrupted, [7], [8])


def official(model, task, site: str, over) -> np.ndarray:
    """Run TransformerLens's own sweep, on the scale of effects."""

    def metric(logits):
        return task.metric(logits[:, -1], torch.arange(len(logits))).mean()

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean_logits, cache = model.run_with_cache(task.clean.ids)
        values = OFFICIAL[site, over](model, task.corrupted.ids, cache, metric).numpy()
        ends = [float(metric(logits)) for logits in (model(task.corrupted.ids), clean_logits)]
    return (values - ends[0]) / (ends[1] - ends[0])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("site", "over"), OFFICIAL, ids=str)
def test_every_site_gives_what_transformer_lens_gives(family, site, over):
    model = bridge(family)
    task, before = task_of(model), hooks_left(model)
    try:
        ours = patch(model, task, site, over=over)
    except HookError as refused:
        assert family in ("OPT", "GPT-NeoX", "native"), refused  # inert, or not there
        assert site in ("pattern", "resid_mid"), refused
        return
    assert ours.attrs["engine"] == ("hooks" if family in NEVER_RESUMED else "resumed"), prove(model)
    np.testing.assert_allclose(ours, official(model, task, site, over), atol=1e-4)
    assert hooks_left(model) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_both_engines_agree_on_all_other_sweeps(family):
    model = bridge(family)
    task = task_of(model)
    for site, over in (("resid_post", None), ("neurons", ("position", "neuron")), ("z", ("position",)), ("z", ())):
        options = {"neurons": [0, 5]} if site == "neurons" else {}
        fast, full = (patch(model, task, site, over=over, engine=e, **options) for e in ("auto", "hooks"))
        np.testing.assert_allclose(fast, full, atol=1e-4)


@pytest.mark.parametrize("engine", ["auto", "hooks"])
@pytest.mark.parametrize("over", [("query_head",), ("position", "query_head")], ids=str)
@pytest.mark.parametrize("site", ["k", "v"])
def test_by_query_head_a_patch_reaches_one_head_of_its_group(site, over, engine):
    """As in the same model whose heads have keys and values of their own."""
    plain = tuple(name.removeprefix("query_") for name in over)
    grouped, alone = bridge("Llama with groups"), ungrouped()
    effect = patch(grouped, task_of(grouped), site, over=over, engine=engine)
    assert effect.dims == ("layer", *plain)
    assert effect.sizes["head"] == 4
    assert effect.attrs["heads"] == "query heads"
    np.testing.assert_allclose(effect, official(alone, task_of(alone), site, plain), atol=1e-4)


def test_where_every_head_has_its_own_keys_by_query_head_is_by_head():
    model = bridge("GPT-2")
    by_query, by_head = (patch(model, task_of(model), "k", over=over) for over in ("query_head", "head"))
    xr.testing.assert_identical(by_query, by_head)
    with pytest.raises(InputError, match="'z' cannot be swept over query_head"):
        patch(model, task_of(model), "z", over="query_head")


@pytest.mark.parametrize("family", ["Llama", "Gemma-2", "GPT-2"])
@pytest.mark.parametrize(("site", "over"), [("resid_pre", None), ("z", None), ("z", ("position", "head")), ("q", None)])
def test_a_metric_may_read_the_logits_of_all_positions(family, site, over):
    model = bridge(family)
    task = task_of(model)
    following = task.corrupted.ids[0, 1:]

    def loss(logits):
        assert logits.shape[1:] == (8, 101)
        chances = logits.log_softmax(-1)[:, :-1]
        return -chances.gather(2, following.expand(len(logits), -1)[..., None]).mean((1, 2))

    fast, full = (patch(model, task, site, over=over, metric=loss, reads="all", engine=e) for e in ("auto", "hooks"))
    np.testing.assert_allclose(metric_of(fast), metric_of(full), atol=1e-4)
    assert float(abs(fast).max()) > 0.1


@pytest.mark.parametrize("engine", ["resumed", "hooks"])
def test_pieces_hold_no_more_tokens_than_asked_for(engine):
    model = bridge("Llama")
    sweep = Sweep(model, task_of(model), "resid_pre", piece_tokens=16, engine=engine)
    done = list(sweep)
    assert max(np.diff([8, *done])) <= (16 if engine == "resumed" else 2)  # at END a run is one token
    np.testing.assert_allclose(sweep.effect, patch(model, task_of(model), "resid_pre"), atol=1e-5)


def test_a_model_that_cannot_be_resumed_says_why_and_falls_back():
    model = bridge("native")
    sweep = Sweep(model, task_of(model), "resid_pre")
    assert sweep.engine == "hooks"
    assert "could not be run on their own" in sweep.why
    with pytest.raises(InputError, match=r"cannot be resumed: .*use engine='auto'"):
        Sweep(model, task_of(model), "resid_pre", engine="resumed")


def metric_of(effect: xr.DataArray) -> xr.DataArray:
    """Undo the normalisation: where both ends are alike, it makes rounding errors large."""
    return effect.base + effect.astype(float) * (effect.source - effect.base)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    site=st.sampled_from(["resid_pre", "attn_out", "z", "k", "pattern"]),
    length=st.integers(2, 11),
    prompts=st.integers(1, 3),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_shape_position_and_site_is_what_a_full_run_with_the_patch_gives(site, length, prompts, seed, data):
    model = bridge("Llama with groups")
    generator = torch.Generator().manual_seed(seed)
    clean, corrupted = torch.randint(101, (2, prompts, length), generator=generator)
    corrupted[:, -1] = clean[:, -1]
    corrupted[:, 0] = (clean[:, 0] + 1) % 101
    task = pair(model, clean, corrupted, [7] * prompts, [8] * prompts)
    over = data.draw(st.sampled_from([None, *[(name,) for name in SITES[site].dims], SITES[site].dims]))
    layers = data.draw(st.lists(st.integers(0, 3), min_size=1, unique=True))
    direction = data.draw(st.sampled_from(["denoising", "noising"]))
    budget = data.draw(st.sampled_from([0.02, 0.3, 100]))
    options = {"over": over, "layers": layers, "direction": direction}
    fast = patch(model, task, site, budget_mb=budget, **options)
    full = patch(model, task, site, engine="hooks", **options)
    np.testing.assert_allclose(metric_of(fast), metric_of(full), atol=1e-4)
    assert fast.attrs["complete"] == 1


def test_before_the_first_difference_nothing_can_change_and_nothing_is_run():
    model = bridge("Llama")
    sweep = Sweep(model, task_of(model), "resid_pre")
    done = list(sweep)
    assert done[0] == 4 * 2  # two positions in four layers are known at once
    assert len(sweep.plan.open) == 4 * 6
    assert (sweep.effect.sel(position=[0, 1]) == 0).all()


def test_effects_are_0_for_the_run_patched_into_and_1_for_the_run_patched_from():
    model = bridge("Llama")
    task = task_of(model)
    for direction in ("denoising", "noising"):
        effect = patch(model, task, "resid_pre", over=(), direction=direction)
        np.testing.assert_allclose(effect, 1, atol=1e-4)  # every position at once: the whole run
        ends = [float(task.metric(forward(model, ids).logits[:, -1], torch.zeros(1, dtype=int)))
                for ids in (task.corrupted.ids, task.clean.ids)]  # fmt: skip
        into, out_of = ends if direction == "denoising" else ends[::-1]
        np.testing.assert_allclose([effect.base, effect.source], [into, out_of], atol=1e-4)


def test_what_is_labelled_says_what_it_is():
    model = bridge("Llama")
    effect = patch(model, task_of(model), "z", over=("position", "head"), positions=[2, -1], heads=[3], layers=[1, 2])
    assert effect.dims == ("layer", "position", "head")
    assert [effect[name].values.tolist() for name in effect.dims] == [[1, 2], [2, 7], [3]]
    assert effect.token.values.tolist() == ["60", "2"]
    assert effect.source_token.values.tolist() == ["3", "2"]
    assert effect.attrs["site"] == "z"
    assert effect.attrs["metric"] == "logit difference"


def test_named_positions_are_looked_up_in_each_prompt():
    model = bridge("Llama")
    clean = [CLEAN, [9, 8, 7, 6, 5, 4, 3, 2]]
    corrupted = [CORRUPTED, [9, 8, 7, 6, 50, 4, 3, 2]]
    task = pair(model, clean, corrupted, [7, 7], [8, 8], positions={"CHANGED": [2, 4]})
    named = patch(model, task, "resid_pre", positions=["CHANGED", "END"])
    numbered = patch(model, task, "resid_pre", positions=[2, 4, 7])
    assert named.position.values.tolist() == ["CHANGED", "END"]
    for prompt, place in ((0, 2), (1, 4)):
        np.testing.assert_array_equal(
            named.sel(position="CHANGED", prompt=prompt), numbered.sel(position=place, prompt=prompt)
        )


def test_any_function_of_the_logits_can_be_the_metric():
    model = bridge("Llama")
    task = task_of(model)

    def chance(logits):
        return logits.softmax(-1)[:, 7]

    fast, full = (patch(model, task, "z", metric=chance, engine=engine) for engine in ("resumed", "hooks"))
    np.testing.assert_allclose(fast, full, atol=1e-4)
    assert fast.attrs["metric"] == "chance"
    with pytest.raises(SweepError, match=r"one number for each run, a tensor of shape \(1,\), got \(1, 101\)"):
        patch(model, task, "z", metric=lambda logits: logits)


def test_a_metric_that_is_the_same_on_both_runs_gives_no_number():
    model = bridge("Llama")
    assert patch(model, task_of(model), "z", metric=lambda logits: 0 * logits[:, 0]).isnull().all()


class Stops:
    """A metric that works so many times."""

    def __init__(self, times: int, error: BaseException) -> None:
        self.times, self.error = times, error

    def __call__(self, logits):
        self.times -= 1
        if self.times < 0:
            raise self.error
        return logits[:, 7] - logits[:, 8]


@pytest.mark.parametrize("engine", ["resumed", "hooks"])
def test_an_interrupt_keeps_what_is_done_and_leaves_the_model_as_it_was(engine):
    model = bridge("Llama")
    task, clean = task_of(model), forward(bridge("Llama"), CLEAN).logits
    metric = Stops(5, KeyboardInterrupt())
    with pytest.warns(UserWarning, match=r"stopped: \d+ of 32 cells are done, the others are NaN"):
        effect = patch(model, task, "z", over=("position",), metric=metric, engine=engine, budget_mb=0.05)
    assert 0 < int(effect.notnull().sum()) < 32
    assert effect.attrs["complete"] == 0
    full = patch(model, task, "z", over=("position",), engine=engine)
    done = effect.notnull()
    np.testing.assert_allclose(effect.where(done, 0), full.where(done, 0), atol=1e-4)
    assert torch.equal(forward(model, CLEAN).logits, clean)
    assert hooks_left(model) == 0


def test_an_error_in_the_metric_carries_what_was_done_and_the_next_call_works():
    model = bridge("Llama")
    with pytest.raises(SweepError, match="ZeroDivisionError: never mind") as caught:
        patch(model, task_of(model), "resid_pre", metric=Stops(5, ZeroDivisionError("never mind")), budget_mb=0.05)
    assert caught.value.partial.notnull().any()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert hooks_left(model) == 0
    assert patch(model, task_of(model), "resid_pre").notnull().all()


def test_a_sweep_can_be_cancelled_between_pieces():
    model = bridge("Llama")
    asked = []
    effect = patch(model, task_of(model), "resid_pre", budget_mb=0.02, cancel=lambda: len(asked) > 2 or asked.append(1))
    assert effect.attrs["complete"] == 0
    assert effect.notnull().any()
    assert effect.isnull().any()


def test_another_run_between_two_pieces_disturbs_nothing():
    model = bridge("Llama")
    sweep = Sweep(model, task_of(model), "z", over=("position", "head"), budget_mb=0.05)
    for _ in sweep:
        forward(model, CORRUPTED, edit={"blocks.0.attn.hook_z": lambda z: z * 0})
    expected = patch(model, task_of(model), "z", over=("position", "head"))
    np.testing.assert_allclose(sweep.effect, expected, atol=1e-5)


def test_a_second_thread_waits_for_its_turn():
    model = bridge("Llama")
    task = task_of(model)
    expected, found = patch(model, task, "z", over=("position", "head")), []
    work = [threading.Thread(target=lambda: found.append(patch(model, task, "z", over=("position", "head"))))
            for _ in range(3)]  # fmt: skip
    [thread.start() for thread in work]
    [thread.join() for thread in work]
    for effect in found:
        np.testing.assert_allclose(effect, expected, atol=1e-5)


def test_weights_that_are_changed_in_place_or_replaced_are_seen():
    model = bridge("Qwen2")
    task = task_of(model)
    before = patch(model, task, "resid_pre")
    weight = model.blocks[2].mlp.out.original_component.weight
    with torch.no_grad():
        weight.mul_(1.5)
        np.testing.assert_allclose(
            patch(model, task, "resid_pre"), patch(model, task, "resid_pre", engine="hooks"), atol=1e-4
        )
        weight.div_(1.5)
    np.testing.assert_allclose(patch(model, task, "resid_pre"), before, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        ({"site": "resid"}, HookError, "no site 'resid': expected any of resid_pre.*did you mean"),
        ({"site": "z", "over": "neuron"}, InputError, "'z' cannot be swept over neuron: it has position, head"),
        ({"site": "z", "reads": "first"}, InputError, "reads the logits at 'END' or 'all', got 'first'"),
        ({"site": "resid_pre", "piece_tokens": 0}, InputError, "expected one token or more in a piece, got 0"),
        ({"site": "z", "layers": [4]}, HookError, r"expected layers between 0 and 3, got \[4\]"),
        ({"site": "z", "layers": []}, HookError, "expected layers between"),
        ({"site": "z", "heads": [9]}, HookError, "expected heads between 0 and 3"),
        ({"site": "z", "positions": [1]}, InputError, "positions= needs a sweep over them"),
        ({"site": "resid_pre", "positions": ["S2"]}, InputError, "no position 'S2' in this task: it names END"),
        ({"site": "resid_pre", "positions": [9]}, HookError, "expected positions between 0 and 7"),
        ({"site": "resid_pre", "direction": "up"}, InputError, "'denoising' or 'noising', got 'up'"),
        ({"site": "resid_pre", "engine": "fast"}, InputError, "'auto', 'resumed' or 'hooks', got 'fast'"),
    ],
)
def test_bad_input_is_explained(call, error, sentence):
    model = bridge("Llama")
    with pytest.raises(error, match=sentence):
        Sweep(model, task_of(model), **call)


def test_an_inert_site_is_refused_with_the_architecture():
    model = bridge("OPT")
    with pytest.raises(HookError, match="would change nothing on OPTForCausalLM: the hook point is inert"):
        patch(model, task_of(model), "pattern")


def test_a_model_in_training_mode_is_refused():
    model = bridge("Phi-3")
    task = task_of(model)
    patch(model, task, "z")
    model.train()
    try:
        with pytest.raises(SweepError, match=r"call model\.eval\(\) first"):
            patch(model, task, "z")
    finally:
        model.eval()


@pytest.mark.parametrize(("site", "over"), [("resid_pre", None), ("z", ("position", "head")), ("neurons", ("neuron",))])
@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "GPT-NeoX"])
def test_an_attribution_is_the_gradient_times_the_change(family, site, over):
    """For a patch that is made a thousandth part of the way, the first order is all there is."""
    model = bridge(family)
    task = task_of(model)
    estimate = attribute(model, task, site, over=over)
    layer, share = 2, 1e-3
    hook = SITES[site].at(layer)
    there = forward(model, task.clean, capture=[hook])[hook]
    cell = {name: 6 if name == "position" else 1 for name in estimate.dims if name != "layer"}

    def nudge(value):
        index = tuple(cell.get(name, slice(None)) for name in SITES[site].axes)
        value[(slice(None), *index)] += share * (there - value)[(slice(None), *index)]

    moved = task.metric(
        forward(model, task.corrupted, edit={hook: nudge}).logits[:, -1].double(), torch.zeros(1, dtype=int)
    )
    slope = (float(moved) - float(estimate.base)) / share / float(estimate.source - estimate.base)
    assert float(estimate.sel(layer=layer, **cell)) == pytest.approx(slope, abs=0.02)


def test_more_steps_come_closer_where_the_metric_bends():
    model = bridge("Llama")
    task = task_of(model)
    exact = patch(model, task, "resid_pre")
    off = [float(abs(attribute(model, task, "resid_pre", steps=steps) - exact).mean()) for steps in (1, 8)]
    assert off[1] < off[0]


def test_there_is_no_estimate_by_query_head():
    model = bridge("Llama with groups")
    with pytest.raises(InputError, match="'v' has one gradient for a group of heads: expected over='head'"):
        attribute(model, task_of(model), "v", over="query_head")


def test_an_estimate_has_the_labels_of_the_exact_sweep():
    model = bridge("Llama with groups")
    task = task_of(model)
    for site, over in (("v", None), ("pattern", ("head", "query")), ("resid_mid", None)):
        estimate, exact = attribute(model, task, site, over=over), patch(model, task, site, over=over)
        assert estimate.dims == exact.dims
        xr.testing.assert_equal(estimate.coords.to_dataset().drop_vars(["base", "source"]),
                                exact.coords.to_dataset().drop_vars(["base", "source"]))  # fmt: skip
        np.testing.assert_allclose([estimate.base, estimate.source], [exact.base, exact.source], atol=1e-4)
