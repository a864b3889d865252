"""The subspace explorer: a direction and its parts patched a share of the way, judged, learned while you look."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import threading

import numpy as np
import pytest
import torch
import xarray as xr

from nbtools import explorers, patching, views
from nbtools.errors import ArrayError, HookError, InputError
from nbtools.patching import SITES, Mediator, Subspace
from nbtools.runs import forward
from tests.conftest import hooks_left
from tests.families import planted
from tests.unit.test_patching_explorer import until
from tests.unit.test_subspace import plant

RUNS = importlib.import_module("nbtools.explorers._subspace_runs")
LAYER, PAIRS, SHARES = 2, 10, (-0.5, 0.0, 0.5, 1.0, 1.5)


def classed(pairs):
    """The same pairs, in two classes by their own token."""
    return dataclasses.replace(pairs, classes=(pairs.own == 8).long())


@pytest.fixture(scope="module")
def model():
    return planted(0)[0]


@pytest.fixture(scope="module")
def pairs(model):
    return classed(plant(model, planted(0)[1], prompts=PAIRS))


def explore(model, pairs, site="neurons", **options):
    return explorers.subspace(model, pairs, site, **{"layer": LAYER, "shares": SHARES, "epochs": 3, **options})


@pytest.fixture
def explorer(model, pairs):
    return explore(model, pairs)


def mediator_of(model, pairs, site="neurons", layer=LAYER):
    return Mediator(model, pairs, site, layer=layer)


def run_in_full(model, pairs, basis, share, *, site="neurons", layer=LAYER, rows=slice(None)):
    """Logits of base runs with an activation moved along a direction, the slow and simple way."""
    hook, basis = SITES[site].at(layer), torch.as_tensor(basis)
    source = forward(model, pairs.source.ids[rows], capture=[hook])[hook]

    def move(value):
        value[:, -1] += share * (source[:, -1] - value[:, -1]) @ basis @ basis.T

    return forward(model, pairs.base.ids[rows], edit={hook: move}).logits[:, -1]


def parts_of(model, pairs, subspace, layer=LAYER):
    mediator = mediator_of(model, pairs, layer=layer)
    row, null = patching.split(subspace.basis, patching.reader_weights(mediator))
    return {"v": subspace.basis, "row": row / row.norm(), "null": null / null.norm()}


def test_curves_are_what_full_runs_give(model, pairs, explorer):
    curves = explorer.result.curves
    assert curves.part.values.tolist() == ["v", "row", "null"]
    assert tuple(curves.share.values) == SHARES
    for part, basis in parts_of(model, pairs, explorer.result.subspace).items():
        for share in SHARES:
            gaps = pairs.metric(run_in_full(model, pairs, basis, share)).numpy()
            expected = patching.spread(xr.DataArray(gaps, dims="prompt"))
            for name in ("mean", "low", "high"):
                found = curves[name].sel(part=part, share=share)
                np.testing.assert_allclose(found, expected[name], atol=2e-3, err_msg=f"{part} {share} {name}")
    assert hooks_left(model) == 0


def test_the_verdict_is_that_of_diagnose(model, pairs, explorer):
    mediator = mediator_of(model, pairs)
    expected = patching.diagnose(mediator, patching.mean_direction(mediator), patching.reader_weights(mediator))
    assert explorer.result.diagnosis.verdict == expected.verdict == explorer.state == explorer.status.value
    xr.testing.assert_allclose(explorer.result.effects, expected.effects, atol=1e-4)


def test_parts_add_up_and_projections_say_where_the_patch_of_v_puts_activations(model, pairs, explorer):
    result, mediator = explorer.result, mediator_of(model, pairs)
    lengths = result.projections.length
    assert lengths.sel(part="v") == pytest.approx(1, abs=1e-5)
    assert (lengths.sel(part=["row", "null"]) ** 2).sum() == pytest.approx(1, abs=1e-5)
    moved = patching.patch_subspace(mediator.base, mediator.source, result.subspace.basis)
    for part, basis in parts_of(model, pairs, result.subspace).items():
        for run, values in (("base", mediator.base), ("source", mediator.source), ("patched", moved)):
            found = result.projections[run].sel(part=part)
            np.testing.assert_allclose(found, (values @ basis)[:, 0], atol=1e-4, err_msg=f"{part} {run}")
    assert explorer.view.title.startswith(f"difference of means, neurons of layer {LAYER}: v = ")


def test_classes_are_those_of_the_pairs_and_sources_may_share_that_of_the_base(model, pairs):
    projections = explore(model, pairs, sides=("ABBA", "BABA"), shares=()).result.projections
    own = pairs.classes.numpy()
    np.testing.assert_array_equal(projections.side, own)
    np.testing.assert_array_equal(projections.source_side, np.where(pairs.expected != pairs.own, 1 - own, own))
    assert projections.attrs["sides"] == ("ABBA", "BABA")


def test_pairs_without_classes_are_shown_by_run(model, pairs):
    plain = dataclasses.replace(pairs, classes=None)
    explorer = explore(model, plain, direction="learned", shares=(), epochs=1)
    assert explorer.view._frame["sides"] == ["base", "source"]
    good = explorer.result
    explorer.direction = "gradient"
    assert "expected base prompts of two classes" in explorer.error
    assert explorer.result is good


def test_each_way_gives_the_direction_that_patching_gives(model, pairs, explorer):
    mediator = mediator_of(model, pairs)
    ways = {"difference of means": patching.mean_direction, "gradient": patching.gradient_direction}
    for name, find in ways.items():
        explorer.controls.direction.value = name
        assert explorer.result.direction == explorer.direction == name
        torch.testing.assert_close(explorer.result.subspace.basis, find(mediator).basis, atol=1e-5, rtol=0)
    explorer.direction = "learned"
    found = patching.learn_subspace(mediator, epochs=3, batch=8)
    torch.testing.assert_close(explorer.result.subspace.basis, found.basis, atol=1e-5, rtol=0)
    assert explorer.result.subspace.losses == pytest.approx(found.losses)
    assert explorer.state.startswith(f"learned in 3 epochs, loss {found.losses[0]:.2f} → {min(found.losses):.2f} nats")
    assert explorer.result.curves["mean"].notnull().all()
    assert hooks_left(model) == 0


def test_directions_are_found_on_the_training_pairs(model, pairs):
    training = classed(plant(model, planted(0)[1], prompts=14, seed=3))
    explorer = explore(model, pairs, training=training)
    expected = patching.mean_direction(mediator_of(model, training))
    torch.testing.assert_close(explorer.result.subspace.basis, expected.basis, atol=1e-5, rtol=0)
    assert explorer.result.effects.attrs["pairs"] == PAIRS


def test_the_slider_moves_one_pair_and_its_answer(model, pairs, explorer):
    before = explorer.result
    for pair, share in ((0, 0.0), (0, 0.35), (7, -0.4)):
        explorer.pair, explorer.view.share = pair, share
        answer = explorer.answer
        assert (answer.pair, answer.share, explorer.share) == (pair, share, share)
        runs = [
            run_in_full(model, pairs, before.subspace.basis, how_far, rows=[pair])[0].double() for how_far in (0, share)
        ]
        for run, shown, gap in zip(runs, (answer.before, answer.after), answer.differences, strict=True):
            np.testing.assert_allclose(shown, run.softmax(-1)[shown.token_id.values], atol=1e-4)
            assert gap == pytest.approx(float(run[pairs.own[pair]] - run[pairs.other[pair]]), abs=2e-3)
        assert answer.after.token_id.values.tolist()[:2] == [int(pairs.own[pair]), int(pairs.other[pair])]
        assert set(runs[1].topk(4).indices.tolist()) <= set(answer.after.token_id.values.tolist())
        assert explorer.bars._frame["names"] == ["base as it is", f"patched along v, share {share:g}"]
    assert explorer.panel.pair.value == 7
    assert explorer.result is before
    assert hooks_left(model) == 0


def test_the_same_share_is_run_once(explorer, monkeypatch):
    runs, logits = [], Mediator.logits
    monkeypatch.setattr(Mediator, "logits", lambda *given: runs.append(1) or logits(*given))
    explorer.share = 0.5
    explorer.view.share = 0.5
    assert len(runs) == 1


def test_a_share_stays_among_those_of_the_curves(explorer):
    explorer.share = 7
    assert explorer.share == explorer.view.share == 1.5
    explorer.view.share = -9
    assert explorer.share == -0.5


def test_another_layer_is_another_activation_and_another_direction(model, pairs, explorer):
    explorer.controls.layer.value = 1
    expected = patching.mean_direction(mediator_of(model, pairs, layer=1))
    assert (explorer.layer, explorer.result.layer) == (1, 1)
    torch.testing.assert_close(explorer.result.subspace.basis, expected.basis, atol=1e-5, rtol=0)
    gaps = pairs.metric(run_in_full(model, pairs, expected.basis, 1.0, layer=1))
    found = explorer.result.curves["mean"].sel(part="v", share=1)
    assert float(found) == pytest.approx(float(gaps.mean()), abs=2e-3)
    explorer.share = 0.5
    assert explorer.answer.share == 0.5


def test_a_given_direction_belongs_to_its_layer(model, pairs):
    given = Subspace(torch.eye(48)[:, :1], "by hand")
    explorer = explore(model, pairs, directions={"mine": given}, direction="mine")
    good = explorer.result
    assert good.subspace is given
    assert explorer.controls.direction.options == ("difference of means", "gradient", "learned", "mine")
    explorer.layer = 1
    assert f"'mine' is a direction of layer {LAYER}: go back there" in explorer.error
    assert "'mine'" in explorer.status.value
    assert explorer.result is good
    explorer.share = 0.5
    assert "'mine'" in explorer.status.value
    explorer.direction = "gradient"
    assert (explorer.error, explorer.result.layer) == ("", 1)
    assert explorer.controls.direction.options == ("difference of means", "gradient", "learned")
    explorer.layer = LAYER
    explorer.direction = "mine"
    assert explorer.result.subspace is given
    torch.testing.assert_close(
        torch.tensor(explorer.result.curves["mean"].values), torch.tensor(good.curves["mean"].values)
    )


def test_the_stream_is_split_by_what_is_named_and_a_reader_that_comes_before_is_explained(model, pairs):
    explorer = explore(model, pairs, "resid_post", layer=1, heads=["2.1"], mlps=[2], through="v")
    mediator = mediator_of(model, pairs, "resid_post", 1)
    reading = patching.reader_weights(mediator, heads=["2.1"], mlps=[2], through="v")
    row, _ = patching.split(explorer.result.subspace.basis, reading)
    assert explorer.result.projections.length.sel(part="row") == pytest.approx(row.norm().item(), abs=1e-4)
    good = explorer.result
    explorer.layer = 2
    assert "a reader in layer 2 comes before it" in explorer.error
    assert explorer.result is good
    with pytest.raises(InputError, match="comes before"):
        explorer.finish()
    explorer.layer = 1
    assert explorer.error == ""


@pytest.mark.parametrize(("site", "reason"), [("resid_post", "name the heads= or mlps="), ("q", "by products")])
def test_without_readers_only_v_is_patched_and_says_why(model, pairs, site, reason):
    explorer = explore(model, pairs, site)
    result = explorer.result
    assert result.curves.part.values.tolist() == ["v"]
    assert result.diagnosis is None
    assert result.curves["mean"].notnull().all()
    whole = result.effects.fldd.sel(patch="full").item()
    assert explorer.state.startswith("no verdict: patching v takes")
    assert explorer.state.endswith(f"the whole activation {whole:.0f} %")
    assert reason in explorer.children[2].value


def test_a_part_that_is_nothing_changes_nothing(model, pairs):
    result = explore(model, pairs, "z").result
    assert result.projections.length.sel(part="null") < 1e-3
    base = result.curves["mean"].sel(part="v", share=0)
    np.testing.assert_allclose(result.curves["mean"].sel(part="null"), base, atol=1e-3)


def test_full_patches_come_first_and_lines_are_drawn_between_what_is_known(model, pairs):
    seen, drawn = [], []

    async def main() -> None:
        explorer = explore(model, pairs)
        assert explorer.busy
        assert explorer.result.curves["mean"].isnull().all()
        explorer.observe(lambda change: seen.append(change["new"].curves["mean"]), "result")
        explorer.view.observe(lambda change: drawn.append(np.frombuffer(change["new"]["shares"], "f4")), "_frame")
        await until(lambda: not explorer.busy)
        assert explorer.state == explorer.result.diagnosis.verdict

    asyncio.run(main())
    known = [[share for share in SHARES if found.sel(share=share).notnull().all()] for found in seen]
    assert known[0] == [0, 1]
    assert known[3] == [-0.5, 0, 1]
    assert known[-1] == list(SHARES)
    assert drawn[0].tolist() == [-0.5, 0, 1, 1.5]
    assert drawn[-1].tolist() == list(SHARES)


def test_a_direction_is_followed_while_it_is_learned_and_the_slider_is_heard(model, pairs):
    told, seen = [], []

    async def main() -> None:
        explorer = explore(model, pairs, direction="learned", epochs=4)
        assert explorer.result.subspace.losses == []
        explorer.observe(lambda change: told.append(change["new"]), "state")
        explorer.observe(lambda change: seen.append(change["new"]), "result")
        await until(lambda: explorer.result.subspace.losses)
        explorer.view.share = 0.25
        assert (explorer.answer.share, explorer.busy) == (0.25, True)
        await until(lambda: not explorer.busy)

    asyncio.run(main())
    epochs = [state for state in told if state.startswith("learning: epoch")]
    assert epochs[0] == "learning: epoch 1 of 4 …"
    assert [state.split()[2] for state in epochs[1:]] == ["1", "2", "3", "4"]
    assert "loss" in epochs[1]
    learned = {len(result.subspace.losses): result for result in seen}
    assert sorted(learned) == [1, 2, 3, 4]
    assert learned[2].curves["mean"].sel(share=[0, 1]).notnull().all()


@pytest.mark.parametrize(("name", "value"), [("direction", "gradient"), ("layer", 1)])
def test_learning_is_left_off_when_something_else_is_chosen(model, pairs, name, value):
    async def main() -> None:
        explorer = explore(model, pairs, epochs=500)
        explorer.controls.direction.value = "learned"
        await until(lambda: len(explorer.result.subspace.losses) == 2)
        setattr(explorer, name, value)
        await until(lambda: getattr(explorer.result, name) == value)
        explorer.direction = "difference of means"
        await until(lambda: not explorer.busy)
        assert (explorer.result.direction, explorer.result.subspace.losses) == ("difference of means", [])

    asyncio.run(main())
    assert hooks_left(model) == 0


def test_finish_makes_a_notebook_deterministic_and_close_stops(model, pairs):
    async def main() -> None:
        explorer = explore(model, pairs)
        result = explorer.finish()
        assert result is explorer.result
        assert not explorer.busy
        assert result.curves["mean"].notnull().all()
        explorer.layer = 1
        explorer.close()
        assert not explorer.busy
        assert explorer.result.curves["mean"].isnull().all()

    asyncio.run(main())


def test_finish_does_what_an_interrupt_left(explorer, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RUNS.Place, "judge", interrupted)
        explorer.direction = "gradient"
    assert (explorer.busy, explorer.state) == (False, "stopped · patching v and its parts …")
    assert explorer.finish().curves["mean"].notnull().all()
    assert explorer.result.direction == "gradient"


def test_weights_that_were_replaced_are_explained():
    model, direction = planted(1)
    explorer = explore(model, classed(plant(model, direction, prompts=PAIRS)))
    good = explorer.answer
    weights = next(model.blocks[3].parameters())
    weights.data = weights.data.clone()
    explorer.share = 0.5
    assert "the weights of the model were replaced" in explorer.error
    assert explorer.answer is good
    explorer.layer = 1
    assert (explorer.error, explorer.answer.share) == ("", 0.5)


def test_what_nobody_foresaw_is_explained_too(explorer, monkeypatch, caplog):
    def broken(*given):
        raise RuntimeError("out of memory")

    good = explorer.result
    with monkeypatch.context() as patch:
        patch.setattr(RUNS.Place, "judge", broken)
        explorer.direction = "gradient"
    assert explorer.error == "the model could not be run: RuntimeError: out of memory"
    assert not explorer.busy
    assert explorer.result.curves["mean"].isnull().all()
    explorer.direction = "difference of means"
    assert explorer.error == ""
    xr.testing.assert_allclose(explorer.result.curves, good.curves, atol=1e-4)


def test_what_does_not_fit_is_refused_and_changes_nothing(explorer):
    good, answer = explorer.result, explorer.answer
    for name, value, error, sentence in (
        ("layer", 4, HookError, "expected a layer between 0 and 3, got 4"),
        ("layer", -1, HookError, "expected a layer between 0 and 3, got -1"),
        ("direction", "means", InputError, "no direction 'means': expected 'difference of means', 'gradient'"),
        ("pair", PAIRS, InputError, f"expected a pair between 0 and {PAIRS - 1}, got {PAIRS}"),
        ("share", float("nan"), InputError, "got nan"),
    ):
        with pytest.raises(error, match=sentence):
            setattr(explorer, name, value)
    asked = explorer.layer, explorer.direction, explorer.pair, explorer.share
    assert asked == (LAYER, "difference of means", 0, 1)
    assert (explorer.result, explorer.answer) == (good, answer)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"layer": 4}, HookError, "expected a layer between 0 and 3"),
        ({"site": "pattern"}, HookError, "'pattern' is no vector"),
        ({"site": "residual"}, HookError, "residual"),
        ({"position": "S2"}, InputError, "no position 'S2'"),
        ({"head": 1}, HookError, "'neurons' has no heads"),
        ({"direction": "mean"}, InputError, "no direction 'mean'"),
        (
            {"directions": {"learned": Subspace(torch.eye(48)[:, :1], "?")}},
            InputError,
            "'learned' is the name of a way",
        ),
        ({"directions": {"a": Subspace(torch.eye(32)[:, :1], "?")}}, InputError, "width=48 and k=1.*width=32, k=1"),
        ({"directions": {"a": Subspace(torch.eye(48)[:, :2], "?")}}, InputError, "expected 'a' .*k=2"),
        ({"directions": {"a": torch.ones(48)}}, InputError, "expected 'a' as a Subspace.* got Tensor"),
        ({"site": "resid_post", "heads": ["1.0"]}, InputError, "a reader in layer 1 comes before it"),
        ({"site": "resid_pre", "heads": ["3.0"], "through": "o"}, InputError, "through 'q', 'k' or 'v', got 'o'"),
        ({"shares": [0, float("inf")]}, InputError, "finite numbers"),
        ({"share": float("nan")}, InputError, "got nan"),
        ({"epochs": 0}, InputError, "expected 1 epoch or more, got 0"),
        ({"sides": ("one",)}, ArrayError, "the names of both classes"),
        ({"pairs": None}, InputError, "expected two or more pairs.*got NoneType"),
        ({"training": "these"}, InputError, "got str"),
    ],
)
def test_a_wrong_beginning_raises(model, pairs, options, error, sentence):
    given = {"pairs": pairs, "site": "neurons", **options}
    with pytest.raises(error, match=sentence):
        explore(model, given.pop("pairs"), given.pop("site"), **given)
    assert hooks_left(model) == 0


def test_one_pair_is_too_few(model, pairs):
    with pytest.raises(InputError, match=r"expected two or more pairs.*got one pair"):
        explore(model, pairs.take([0]))


def test_moves_from_another_thread_while_the_main_thread_runs_the_model(model, pairs):
    shown = []

    async def main() -> None:
        explorer = explore(model, pairs)
        explorer.observe(lambda change: shown.append(change["new"]), "answer")
        reference = forward(model, pairs.base.ids).logits

        def move() -> None:
            for number in range(100):
                explorer.share, explorer.pair = number % 3 / 2, number % 4
            explorer.layer = 1

        moves = threading.Thread(target=move)
        moves.start()
        for _ in range(20):
            assert torch.equal(forward(model, pairs.base.ids).logits, reference)
        moves.join()
        await until(lambda: explorer.result.layer == 1 and not explorer.busy)
        assert (explorer.answer.pair, explorer.answer.share) == (3, 0)

    asyncio.run(main())
    assert shown
    assert hooks_left(model) == 0


def test_a_prompt_in_the_menu_is_its_ending_and_tokens_have_their_texts(explorer, pairs):
    assert [value for _, value in explorer.panel.pair.options] == list(range(PAIRS))
    assert explorer.panel.pair.options[3][0] == "3 · ??????"
    assert explorer.panel.source.value == "source: ??????"
    assert explorer.panel.gap.value.startswith("logit difference ")


def test_the_explorer_leaves_a_picture_and_a_plain_repr(explorer, tmp_path):
    explorer.share = 0.5
    bundle = explorer._repr_mimebundle_()
    asked = f"site='neurons', layer={LAYER}, direction='difference of means', pair=0, share=0.5"
    assert bundle["text/plain"] == repr(explorer) == f"SubspaceExplorer({asked})"
    assert repr(explorer.result) == (
        f"SubspaceResult(layer={LAYER}, direction='difference of means', {explorer.result.diagnosis.verdict!r})"
    )
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert explorer.save(tmp_path / "explorer.html").stat().st_size > 5_000
    assert isinstance(explorer.view, views.Direction)
