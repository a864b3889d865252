"""A direction is patched exactly, learned where it is, split into what is read and what is not, and judged."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nbtools.errors import ArrayError, HookError, InputError
from nbtools.models.tokens import Tokens
from nbtools.patching import (
    SITES,
    Mediator,
    Subspace,
    compare_patches,
    diagnose,
    gradient_direction,
    learn_subspace,
    learning,
    mean_direction,
    move_along,
    patch_subspace,
    reader_weights,
    split,
)
from nbtools.runs import forward
from nbtools.tasks import Interchange, interchange, ioi_orders, pair
from tests.conftest import hooks_left
from tests.families import FAMILIES, bridge, planted

VECTORS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "neurons")


def pairs_of(model, prompts=3, seed=0) -> Interchange:
    clean, corrupted = torch.randint(101, (2, prompts, 8), generator=torch.Generator().manual_seed(seed))
    return interchange(pair(model, clean, corrupted, [7] * prompts, [8] * prompts))


def with_edit(model, pairs, site, layer, position, head=None):
    """Run in full with the source's activation, the slow and simple way."""
    hook = SITES[site].at(layer)
    source = forward(model, pairs.source, capture=[hook])[hook]

    def put(value):
        index = (slice(None), position) if head is None else (slice(None), position, head)
        value[index] = source[index]
        return value

    return forward(model, pairs.base, edit={hook: put}).logits[:, -1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("site", VECTORS)
def test_a_mediator_gives_what_a_full_run_with_the_edit_gives(family, site):
    model = bridge(family)
    pairs, before = pairs_of(model), hooks_left(model)
    for layer, position in ((0, 4), (2, 7), (3, 7)):
        try:
            mediator = Mediator(model, pairs, site, layer=layer, position=position)
        except HookError as refused:
            assert family in ("OPT", "GPT-NeoX", "native"), refused
            return
        expected = with_edit(model, pairs, site, layer, position)
        torch.testing.assert_close(mediator.logits(mediator.source), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(
            mediator.logits(mediator.base), forward(model, pairs.base).logits[:, -1], atol=1e-4, rtol=0
        )
    assert hooks_left(model) == before


def test_one_head_alone_can_be_the_mediator():
    model = bridge("Llama with groups")
    pairs = pairs_of(model)
    for site, head, width in (("z", 3, 8), ("v", 1, 8)):
        mediator = Mediator(model, pairs, site, layer=1, position=5, head=head)
        assert mediator.width == width
        torch.testing.assert_close(
            mediator.logits(mediator.source), with_edit(model, pairs, site, 1, 5, head), atol=1e-4, rtol=0
        )
    assert Mediator(model, pairs, "z", layer=1, head="1.3").head == 3


@pytest.mark.parametrize("family", ["Llama with groups", "Mistral, sliding window", "GPT-2", "native"])
def test_mediators_beside_one_another_are_those_made_alone(family):
    model = bridge(family)
    pairs, before = pairs_of(model), hooks_left(model)
    first = Mediator(model, pairs, "resid_post", layer=2)
    for site, position, head in (("resid_pre", 4, None), ("mlp_out", 7, None), ("z", 3, 1), ("z", 7, "2.2")):
        beside = first.beside(site, position=position, head=head)
        alone = Mediator(model, pairs, site, layer=2, position=position, head=head)
        torch.testing.assert_close(beside.base, alone.base, atol=1e-6, rtol=0)
        torch.testing.assert_close(beside.source, alone.source, atol=1e-6, rtol=0)
        torch.testing.assert_close(beside.logits(beside.source), alone.logits(alone.source), atol=1e-5, rtol=0)
    assert first.site.name == "resid_post" and hooks_left(model) == before


def test_more_pairs_than_run_at_once_keep_their_order():
    model = bridge("Llama")
    pairs = pairs_of(model, prompts=150)
    mediator = Mediator(model, pairs, "mlp_out", layer=1, position=5)
    few = pairs.take(range(60, 70))
    alone = Mediator(model, few, "mlp_out", layer=1, position=5)
    torch.testing.assert_close(mediator.base[60:70], alone.base, atol=1e-5, rtol=0)
    torch.testing.assert_close(mediator.source[60:70], alone.source, atol=1e-5, rtol=0)
    every = mediator.logits(mediator.source)
    torch.testing.assert_close(every[60:70], with_edit(model, few, "mlp_out", 1, 5), atol=1e-4, rtol=0)


def test_a_mediator_of_other_weights_is_refused():
    model = bridge("Llama")
    mediator = Mediator(model, pairs_of(model), "mlp_out", layer=1)
    weights = next(model.blocks[3].parameters())
    weights.data = weights.data.clone()
    with pytest.raises(InputError, match="weights of the model were replaced after Mediator"):
        mediator.logits(mediator.source)
    with pytest.raises(InputError, match="make it again"):
        mediator.beside("attn_out")


def test_positions_may_differ_from_pair_to_pair():
    model = bridge("Llama")
    pairs = pairs_of(model, prompts=4)
    places = [2, 6, 2, 7]
    named = Interchange(
        pairs.name, pairs.base, pairs.source, pairs.own, pairs.other, pairs.expected, {"HERE": places}, "tiny"
    )
    mediator = Mediator(model, named, "resid_post", layer=1, position="HERE")
    got = mediator.logits(mediator.source)
    for row, place in enumerate(places):
        expected = with_edit(model, pairs.take([row]), "resid_post", 1, place)
        torch.testing.assert_close(got[row : row + 1], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(mediator.logits(mediator.source[[3, 0]], [3, 0]), got[[3, 0]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "native"])
def test_the_gradient_is_that_of_a_full_run(family):
    model = bridge(family)
    pairs = pairs_of(model)
    mediator = Mediator(model, pairs, "mlp_out", layer=1, position=5)
    values = mediator.base.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(mediator.logits(values)[:, 7].sum(), values)
    step = 1e-2 * torch.nn.functional.normalize(slope, dim=1)
    up, down = (mediator.logits(mediator.base + sign * step)[:, 7] for sign in (1, -1))
    torch.testing.assert_close((up - down).detach() / 2e-2, slope.norm(dim=1), rtol=0.02, atol=1e-4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(width=st.integers(2, 12), k=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_patch_of_directions_is_a_projection(width, k, seed):
    generator = torch.Generator().manual_seed(seed)
    base, source = torch.randn(2, 5, width, generator=generator)
    basis = torch.linalg.qr(torch.randn(width, min(k, width), generator=generator))[0]
    patched = patch_subspace(base, source, basis)
    torch.testing.assert_close(patch_subspace(base, base, basis), base)
    torch.testing.assert_close(patched @ basis, source @ basis, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(patch_subspace(patched, source, basis), patched, atol=1e-5, rtol=1e-5)
    if k >= width:
        torch.testing.assert_close(patched, source, atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(width=st.integers(2, 12), reads=st.integers(1, 12), seed=st.integers(0, 99))
def test_row_and_null_part_make_the_direction_and_the_null_part_is_not_read(width, reads, seed):
    generator = torch.Generator().manual_seed(seed)
    direction, reading = torch.randn(width, 1, generator=generator), torch.randn(width, reads, generator=generator)
    row, null = split(direction, reading)
    torch.testing.assert_close(row + null, direction)
    torch.testing.assert_close(null.T @ reading, torch.zeros(1, reads), atol=1e-4, rtol=0)
    torch.testing.assert_close(row.T @ null, torch.zeros(1, 1), atol=1e-4, rtol=0)


class Toy:
    """The three neurons of Makelov et al.: x goes through (1, 0, 1) and is read by (0, 2, 1), or by two outputs."""

    W_IN = torch.tensor([1.0, 0.0, 1.0])
    ONE = torch.tensor([[0.0], [2.0], [1.0]])
    TWO = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    READOUT = torch.tensor([2.0, 1.0])

    @classmethod
    def share(cls, direction, *, two: bool) -> float:
        """How much of the way from x = 1 to x = 3 a patch goes."""
        base, source = 1.0 * cls.W_IN, 3.0 * cls.W_IN
        patched = patch_subspace(base, source, direction)
        out = (patched @ cls.TWO) @ cls.READOUT if two else (patched @ cls.ONE)[0]
        return round((float(out) - 1.0) / 2.0, 4)


@pytest.mark.parametrize(
    ("direction", "one", "two"),
    [
        ([1, 1, 0], (1.0, 1.0, 0.4, 0.0), (1.0, 0.0, 0.0, 0.0)),  # illusory
        ([0, 0, 1], (1.0, 1.0, 0.2, 0.0), (1.0, 1.0, 1.0, 0.0)),  # faithful
        ([0, 1, 0], (0.0, 1.0, 0.8, 0.0), (0.0, 0.0, 0.0, 0.0)),  # dormant
    ],
)
def test_the_toy_gives_what_the_paper_says(direction, one, two):
    """Shares of a full swap: v, its row part at unit length, the row part as it is, the null part at unit length."""
    basis = Subspace.spanned_by(torch.tensor(direction, dtype=torch.float), "by hand").basis
    for reading, expected, outputs in ((Toy.ONE, one, False), (Toy.TWO, two, True)):
        row, null = split(basis, reading)
        parts = [basis, row / row.norm(), row, null / null.norm().clamp_min(1e-6)]
        assert [Toy.share(part, two=outputs) + 0.0 for part in parts] == pytest.approx(expected, abs=1e-4)


def plant(model, direction, prompts=160, seed=0) -> Interchange:
    """Random prompts, answered by the side of the planted direction on which they end."""
    base, source = torch.randint(101, (2, prompts, 6), generator=torch.Generator().manual_seed(seed))
    hook = SITES["resid_post"].at(3)
    sides = [forward(model, ids, capture=[hook])[hook][:, -1] @ direction for ids in (base, source)]
    own, expected = (torch.where(side > 0, 7, 8) for side in sides)
    labels = [["?"] * 6] * prompts
    places = {"END": [5] * prompts}
    return Interchange("planted", Tokens(base, labels), Tokens(source, labels), own, 15 - own, expected, places, "tiny")


@pytest.mark.parametrize("seed", range(5))
def test_alignment_search_finds_a_planted_direction(seed):
    model, direction = planted(seed)
    mediator = Mediator(model, plant(model, direction, prompts=600), "resid_post", layer=3)
    found = learn_subspace(mediator, epochs=20, batch=30, rate=0.02, patience=20, seed=seed)
    assert abs(float(found.basis[:, 0] @ direction)) > 0.95
    assert found.losses[-1] < found.losses[0]


def test_learning_is_repeatable_goes_step_by_step_and_stops_when_nothing_is_gained():
    model, direction = planted(0)
    mediator = Mediator(model, plant(model, direction, prompts=40), "resid_post", layer=3)
    one = learn_subspace(mediator, k=2, epochs=3, seed=5)
    first, *steps = learning(mediator, k=2, epochs=3, seed=5)
    assert torch.equal(one.basis, steps[-1].basis)
    assert one.losses == steps[-1].losses
    assert [len(found.losses) for found in (first, *steps)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert not torch.equal(first.basis, steps[2].basis)
    assert one.basis.shape == (32, 2)
    assert len(learn_subspace(mediator, epochs=50, rate=1e-12, patience=2).losses) == 3
    assert hooks_left(model) == 0


def test_a_planted_direction_is_believable_and_one_that_is_not_read_is_illusory():
    model, direction = planted(0)
    mediator = Mediator(model, plant(model, direction, seed=1), "resid_post", layer=3)
    true = diagnose(mediator, Subspace(direction[:, None], "planted"), direction[:, None])
    assert true.verdict.startswith("believable")
    assert true.row_norm == pytest.approx(1, abs=1e-4)
    assert true.effects.accuracy.sel(patch="v") > 0.9
    elsewhere = torch.linalg.qr(torch.stack([direction, torch.ones(32)], 1))[0][:, 1:]
    nothing = diagnose(mediator, Subspace(elsewhere, "elsewhere"), direction[:, None])
    assert nothing.verdict.startswith("no effect")
    assert nothing.null_norm == pytest.approx(1, abs=1e-4)


def test_a_comparison_has_intervals_that_hold_its_figures():
    model, direction = planted(0)
    mediator = Mediator(model, plant(model, direction, prompts=60), "resid_post", layer=3)
    table = compare_patches(mediator, {"full": mediator.source})
    assert table.patch.values.tolist() == ["none", "full"]
    assert table.fldd.sel(patch="none") == 0
    for name in ("logit_difference", "fldd", "accuracy"):
        assert (table[f"{name}_low"] <= table[name] + 1e-9).all()
        assert (table[name] <= table[f"{name}_high"] + 1e-9).all()


def test_what_reads_an_activation_depends_on_the_site():
    model = bridge("Llama with groups")
    pairs = pairs_of(model)
    width = {"neurons": (48, 32), "z": (32, 32)}
    for site, shape in width.items():
        assert reader_weights(Mediator(model, pairs, site, layer=1)).shape == shape
    assert reader_weights(Mediator(model, pairs, "z", layer=1, head=2)).shape == (8, 32)
    after = Mediator(model, pairs, "resid_post", layer=1)
    one, group = (reader_weights(after, heads=heads, through="k") for heads in (["2.0"], ["2.1"]))
    torch.testing.assert_close(one, group)  # both heads share their keys
    assert reader_weights(after, heads=["2.0", "3.3"], mlps=[2]).shape == (32, 8 + 8 + 48 + 48)
    with pytest.raises(InputError, match="a reader in layer 1 comes before it: name heads= or mlps= from layer 2 on"):
        reader_weights(after, heads=["1.0"])
    with pytest.raises(InputError, match="the stream is read by later layers"):
        reader_weights(after)
    with pytest.raises(InputError, match="attention reads 'q' by products"):
        reader_weights(Mediator(model, pairs, "q", layer=1))


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "Gemma-2", "Qwen3"])
def test_what_a_reader_does_not_read_changes_at_most_the_scale_of_what_it_gets(family):
    model = bridge(family)
    block, g = model.blocks[2], torch.Generator().manual_seed(0)
    gains = [parameter for parameter in block.ln1.parameters() if parameter.ndim == 1]
    before = [gain.detach().clone() for gain in gains]
    try:
        with torch.no_grad():
            for gain in gains:  # Gemma's gain is one more than its weight
                gain.add_(torch.randn(gain.shape, generator=g) / 2)
            reading = reader_weights(Mediator(model, pairs_of(model), "resid_pre", layer=2), heads=["2.1"])
            x, step = torch.randn(2, 1, 32, generator=g)
            null = split(step.T, reading)[1].T
            given = [(block.ln1(stream) - block.ln1(0 * x)) @ block.attn.W_Q[1] for stream in (x, x + null, x + step)]
    finally:
        with torch.no_grad():
            for gain, old in zip(gains, before, strict=True):
                gain.copy_(old)
    same, other = (torch.cosine_similarity(given[0], moved).item() for moved in given[1:])
    assert null.norm() > 1 and same > 1 - 1e-4 > other + 1e-2


def test_a_norm_that_centres_does_not_let_the_mean_be_read():
    model = bridge("GPT-2")
    reading = reader_weights(Mediator(model, pairs_of(model), "resid_pre", layer=2), heads=["2.0"])
    norm = model.blocks[2].ln1
    moved = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    _, null = split(torch.ones(32, 1), reading)
    assert null.norm() > 0.99 * 32**0.5
    torch.testing.assert_close(norm(moved + 5), norm(moved), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda m, p: Mediator(m, p, "pattern", layer=1), HookError, "'pattern' is no vector at one position"),
        (lambda m, p: Mediator(m, p, "z", layer=9), HookError, "expected a layer between 0 and 3, got 9"),
        (lambda m, p: Mediator(m, p, "z", layer=1, head="2.0"), HookError, "head '2.0' is not in layer 1"),
        (lambda m, p: Mediator(m, p, "mlp_out", layer=1, head=0), HookError, "'mlp_out' has no heads"),
        (lambda m, p: Mediator(m, p, "z", layer=1, head=7), HookError, "expected a head between 0 and 3, got 7"),
        (lambda m, p: Mediator(m, p, "z", layer=1, position="S2"), InputError, "no position 'S2' in these pairs"),
        (lambda m, p: Mediator(m, p, "z", layer=1, position=8), InputError, "expected a position between 0 and 7"),
        (lambda m, p: Mediator(m, p, "z", layer=1).logits(torch.zeros(3, 5)), ArrayError, r"of shape \(3, 32\), got"),
        (lambda m, p: mean_direction(Mediator(m, p, "z", layer=1)), InputError, "base prompts of two classes"),
        (lambda m, p: learn_subspace(Mediator(m, p, "z", layer=1), k=33), InputError, "expected 1 to 32 directions"),
        (lambda m, p: learn_subspace(Mediator(m, p, "z", layer=1), epochs=0), InputError, "expected epochs above 0"),
        (lambda m, p: Subspace(torch.ones(3, 1), "?"), ArrayError, "expected orthonormal columns"),
        (lambda m, p: Subspace(torch.ones(3), "?"), ArrayError, r"as columns \(width, k\), got shape \(3,\)"),
        (lambda m, p: Subspace.spanned_by(torch.zeros(3), "?"), ArrayError, "not zero and not made of one another"),
        (lambda m, p: split(torch.ones(3, 1), torch.ones(4, 1)), ArrayError, "of one width"),
    ],
)
def test_bad_input_is_explained(call, error, sentence):
    model = bridge("Llama")
    with pytest.raises(error, match=sentence):
        call(model, pairs_of(model))


def test_an_error_while_learning_leaves_the_model_as_it_was(monkeypatch):
    model, direction = planted(1)
    mediator = Mediator(model, plant(model, direction, prompts=20), "resid_mid", layer=2)
    before = forward(model, [[1, 2, 3]]).logits

    def stop(optimiser):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.Adam, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        learn_subspace(mediator, epochs=3)
    assert hooks_left(model) == 0
    assert torch.equal(forward(model, [[1, 2, 3]]).logits, before)


def test_orders_of_names_come_in_pairs_about_the_same_people(model):
    found = ioi_orders(model, pairs=12, crossing=False, seed=3)
    assert len(found) == 12
    texts = [[("".join(labels)) for labels in side.labels] for side in (found.base, found.source)]
    assert len(set(texts[0])) == 12
    crosses = [ours != theirs for ours, theirs in zip(found.positions["IO"], _io_of(found), strict=True)]
    assert (found.expected == torch.where(torch.tensor(crosses, device=found.own.device), found.other, found.own)).all()
    assert sorted(set(crosses)) == [False, True]
    assert ioi_orders(model, pairs=12, crossing=False, seed=3).base.ids.equal(found.base.ids)
    always = ioi_orders(model, pairs=12, seed=3)
    assert (always.expected == always.other).all()


def _io_of(found) -> list[int]:
    """Where the indirect object stands in each source."""
    return [row.tolist().index(int(own)) for row, own in zip(found.source.ids, found.own, strict=True)]


def test_halves_share_no_name(model):
    names = [
        set(torch.cat([half.own, half.other]).tolist())
        for half in (ioi_orders(model, pairs=60, half=which) for which in ("first", "second"))
    ]
    assert not names[0] & names[1]


def test_a_mean_and_a_gradient_both_carry_the_order_of_names_without_training(model):
    pairs = ioi_orders(model, pairs=16, template=0)
    mediator = Mediator(model, pairs, "resid_post", layer=21)
    mean, slope = mean_direction(mediator), gradient_direction(mediator)
    assert mean.k == slope.k == 1
    patches = {name: patch_subspace(mediator.base, mediator.source, found.basis) for name, found in
               (("mean", mean), ("gradient", slope))}  # fmt: skip
    moved = compare_patches(mediator, {**patches, "full": mediator.source})
    assert (moved.fldd.sel(patch=["mean", "gradient", "full"]) > 50).all()


def test_an_interchange_reads_a_task_both_ways():
    model = bridge("Llama")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = pair(model, [1, 2, 3], [4, 2, 3], [7], [8])
    into, out = interchange(task), interchange(task, direction="noising")
    assert into.base.ids.equal(task.corrupted.ids)
    assert out.base.ids.equal(task.clean.ids)
    assert (int(into.own), int(into.expected)) == (8, 7)
    assert (int(out.own), int(out.expected)) == (7, 8)
    with pytest.raises(InputError, match="'denoising' or 'noising', got 'up'"):
        interchange(task, direction="up")
    with pytest.raises(InputError, match="at least one of 1 pairs, got none"):
        into.take([])


def test_moving_along_directions_gives_the_answers_on_the_way_and_where_it_leads():
    base, source = torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(0))
    read, v = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    row, null = (part[:, 0] for part in split(v[:, None], read[:, None]))
    parts = {"v": v, "row": row, "null": null}
    curves, lies = move_along(base, source, parts, lambda values: values @ read, shares=[0, 0.5, 1])
    said = curves["mean"]
    assert curves.attrs["long_name"] == "logit difference" and curves.attrs["units"] == "nats"
    unit = (v / v.norm())[:, None]
    torch.testing.assert_close(
        torch.tensor(said.sel(part="v", share=1).item()), (patch_subspace(base, source, unit) @ read).mean()
    )
    torch.testing.assert_close(torch.tensor(said.sel(part="v").values).diff(n=2), torch.zeros(1).double())
    assert abs(said.sel(part="null") - said.sel(part="null", share=0)).max() < 1e-6
    assert (curves.low <= curves["mean"]).all() and (curves["mean"] <= curves.high).all()
    assert abs(lies.patched - lies.source).max() < 1e-5 and lies.side.values.tolist() == [0] * 30
    _, seen = move_along(base, source, parts, lambda values: values @ read, patched="v")
    assert abs(seen.patched.sel(part="v") - seen.source.sel(part="v")).max() < 1e-5
    assert abs(seen.patched.sel(part="row") - seen.source.sel(part="row")).max() > 0.1


def test_what_cannot_be_moved_along_is_said():
    values = torch.ones(2, 3)
    for directions, wrong, problem in (
        ({}, InputError, "one direction or more"),
        ({"v": torch.zeros(3)}, ArrayError, "'v' to be a vector of 3 numbers that is not zero"),
        ({"v": torch.ones(4)}, ArrayError, "'v' to be a vector of 3"),
    ):
        with pytest.raises(wrong, match=problem):
            move_along(values, values, directions, lambda moved: moved[:, 0])
    with pytest.raises(InputError, match="no direction 'w': expected one of v"):
        move_along(values, values, {"v": torch.ones(3)}, lambda moved: moved[:, 0], patched="w")
    with pytest.raises(ArrayError, match="base and source of one shape"):
        move_along(values, values[:1], {"v": torch.ones(3)}, lambda moved: moved[:, 0])
