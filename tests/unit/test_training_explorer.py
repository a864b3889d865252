"""The training explorer: what is on show is the training as it is, which can be stopped, gone on with and replaced."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading

import numpy as np
import pytest
import torch
import xarray as xr

from nbtools import explorers, measures, views
from nbtools.errors import ArrayError, InputError, OptionError
from nbtools.explorers import VARIANTS
from nbtools.training import SINK_MEASURES, SinkProgress, TinyConfig, TinyTransformer, bigram_backcopy, train
from tests.unit.test_patching_explorer import until

RUNS = importlib.import_module("nbtools.explorers._training_runs")
LOOKS = importlib.import_module("nbtools.explorers._training_looks")
DATA = bigram_backcopy()
TINY = {"layers": 1, "d_model": 8, "d_head": 8, "d_mlp": 8, "length": 8}
SMALL = TinyConfig(**TINY)
TWO = TinyConfig(**{**TINY, "layers": 2}, heads=2)
FEW = {
    "plain": (SMALL, {"batch": 4}),
    "relu": (TinyConfig(**TINY, attention="relu"), {"batch": 4}),
    "two": (TWO, {"batch": 4, "optimizer": "sgd"}),
}
MEASURE = SinkProgress(DATA, 8, 8)


def explore(config="plain", **options):
    given = {"variants": FEW, "steps": 20, "measure_every": 5, "measure": MEASURE}
    return explorers.training(config, data=DATA, **given | options)


@pytest.fixture
def explorer():
    return explore()


@pytest.fixture
def steps_one_by_one(monkeypatch):
    """Let each piece of work be one step."""
    monkeypatch.setattr(RUNS, "_TURN", 0.0)


def whole(variant="plain", seed=0, **options):
    config, how = FEW[variant]
    given = {"steps": 20, "measure_every": 5, "keep": 5, "measure": MEASURE}
    return train(config, DATA, seed=seed, **given | how | options)


def same(one, other) -> bool:
    weights = [torch.equal(one.checkpoints[name], values) for name, values in other.checkpoints.items()]
    return one.kept == other.kept and all(weights) and one.measures.identical(other.measures)


def sent(explorer, name: str, kind: type = np.float32) -> np.ndarray:
    return np.frombuffer(explorer.view._frame[name], kind)


def test_a_fresh_model_is_on_show_before_anything_is_trained(explorer):
    assert (explorer.variant, explorer.seed, explorer.steps, explorer.step, explorer.head) == ("plain", 0, 20, 0, "0.0")
    assert not explorer.running
    assert explorer.training.step == 0
    assert (explorer.state, explorer.error, explorer.status.value) == ("step 0 of 20", "", "step 0 of 20")
    assert (explorer.controls.run.description, explorer.controls.run.disabled) == ("train", False)
    assert sent(explorer, "steps", np.int32).tolist() == [0]
    assert explorer.view._frame["ticks"][-1] == (1.0, "20")
    assert repr(explorer) == "TrainingExplorer('plain', steps=20, step=0)"
    assert explorer.result.measures.identical(whole(keep=(0,)).measures.sel(step=[0]))


def test_what_is_trained_is_what_train_gives(explorer):
    explorer.train()
    assert same(explorer.result, whole())
    assert not explorer.running
    assert explorer.step == 20
    assert explorer.state.startswith("all 20 steps are done · 0 s · loss backcopy ")
    assert (explorer.controls.bar.value, explorer.controls.bar.bar_style) == (20, "success")
    assert explorer.controls.run.disabled
    assert explorer.finish().measures.identical(explorer.result.measures)


def test_curves_attention_and_values_on_show_are_those_of_the_model_at_each_step(explorer):
    result = explorer.finish()
    found = sent(explorer, "mean").reshape(-1, 5)
    names = ["sink", "drain", "backcopy_accuracy", "bigram_excess", "trigger_to_previous", "residual_ratio"]
    assert explorer.view._frame["names"] == [name.replace("_", " ") for name in names]
    assert explorer.view._frame["notes"] == [SINK_MEASURES[name] for name in names]
    for name, curve in zip(names, found, strict=True):
        np.testing.assert_array_equal(curve, np.float32(result.measures[name].values.reshape(-1)))
    looks = explorer._run.looks
    for step in (0, 10, 20):
        model = result.model(step)
        pattern = measures.attention(model, looks._ids).sel(layer=0, head=0)
        norms = measures.value_norms(model, looks._ids).sel(layer=0, head=0)
        place = step // 5
        levels = sent(explorer, "levels", np.uint8).reshape(5, 8, 8)[place]
        np.testing.assert_allclose(levels / 255, pattern, atol=1 / 500)
        np.testing.assert_allclose(sent(explorer, "bars").reshape(5, 8)[place], norms, rtol=1e-5)
    assert explorer.view._frame["queries"] == [DATA.labels[token] for token in looks._ids]
    assert explorer.view._frame["label"] == "attention of 0.0"


def test_it_can_be_stopped_and_gone_on_with_and_ends_the_same_bit_for_bit(steps_one_by_one):
    seen = []

    async def main():
        explorer = explore()
        explorer.controls.run.click()
        assert (explorer.running, explorer.controls.run.description) == (True, "stop")
        for stop in (3, 5, 11):
            await until(lambda stop=stop: explorer.training.step >= stop)
            explorer.controls.run.click()
            assert not explorer.running
            seen.append((explorer.training.step, explorer.controls.run.description))
            assert explorer.state.startswith(f"stopped at step {explorer.training.step} of 20")
            await asyncio.sleep(0)
            explorer.train()
        await until(lambda: not explorer.running)
        return explorer

    explorer = asyncio.run(main())
    assert seen == [(3, "go on"), (5, "go on"), (11, "go on")]
    assert same(explorer.result, whole())


def test_the_step_follows_the_newest_until_the_slider_is_taken_back(steps_one_by_one):
    async def main():
        explorer = explore()
        explorer.train()
        await until(lambda: explorer.step == 10)
        assert (explorer.view.step, explorer.view.newest) == (10, 10)
        explorer.view.step = 5  # as the page does
        await until(lambda: explorer.view.newest == 15)
        assert (explorer.step, explorer.view.step) == (5, 5)
        explorer.view.step = 15
        await until(lambda: not explorer.running)
        assert (explorer.step, explorer.view.step) == (20, 20)
        explorer.step = 7
        assert (explorer.step, explorer.view.step) == (5, 5)

    asyncio.run(main())


@pytest.mark.parametrize(("name", "value"), [("variant", "relu"), ("seed", 3)])
def test_another_variant_or_seed_stops_and_begins_with_a_fresh_model(steps_one_by_one, name, value):
    async def main():
        explorer = explore()
        view = explorer.view
        explorer.train()
        await until(lambda: explorer.training.step == 7)
        getattr(explorer.controls, name).value = value
        assert (getattr(explorer, name), explorer.running, explorer.training.step, explorer.step) == (
            value,
            False,
            0,
            0,
        )
        assert explorer.view is view
        assert view.title == f"{explorer.variant}, seed {explorer.seed}"
        explorer.finish()
        return explorer

    explorer = asyncio.run(main())
    assert same(explorer.result, whole(explorer.variant, explorer.seed))


def test_reset_begins_again_and_more_steps_go_further(explorer):
    explorer.steps = 10
    explorer.train()
    assert explorer.training.step == 10
    explorer.controls.steps.value = 20
    assert explorer.controls.run.description == "go on"
    assert not explorer.controls.run.disabled
    explorer.train()
    assert same(explorer.result, whole())
    explorer.controls.reset.click()
    assert (explorer.training.step, explorer.step, explorer.steps) == (0, 0, 20)
    assert same(explorer.finish(), whole())


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("seed", -1, "expected seed as 0 or more, got -1"),
        ("seed", 2**70, "expected seed as 0 or more"),
        ("steps", 0, "expected steps as 1 to 9,950, with every 5 of them measured, got 0"),
        ("steps", 10**9, "expected steps as 1 to 9,950"),
        ("variant", "silent", "expected variant as one of plain, relu, two, got 'silent'"),
        ("head", "3.0", "expected head as one of 0.0, got '3.0'"),
    ],
)
def test_what_does_not_fit_is_said_and_changes_nothing(explorer, name, value, sentence):
    explorer.finish()
    before, model, frame = getattr(explorer, name), explorer.model, explorer.view._frame
    setattr(explorer, name, value)
    assert sentence in explorer.error
    assert explorer.status.value == f"⚠ {explorer.error}"
    assert (getattr(explorer, name), getattr(explorer.controls, name).value) == (before, before)
    assert explorer.model is model
    assert explorer.view._frame is frame
    if name in ("seed", "steps"):
        getattr(explorer.controls, name).value = value  # as the hand does
        assert getattr(explorer.controls, name).value == before
    explorer.train()
    assert explorer.error == ""


def test_a_variant_that_cannot_be_made_is_explained_and_the_one_on_show_stays():
    variants = {**FEW, "long": (TinyConfig(**TINY, vocabulary=3), {})}
    explorer = explore(variants=variants)
    explorer.finish()
    model = explorer.model
    explorer.controls.variant.value = "long"
    assert "the data has 64 tokens, the model 3" in explorer.error
    assert (explorer.variant, explorer.controls.variant.value, explorer.step) == ("plain", "plain", 20)
    assert explorer.training.model is model
    explorer.variant = "relu"
    assert (explorer.error, explorer.training.step) == ("", 0)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_training_that_is_broken_off_says_why_and_goes_on_to_the_same_end(explorer, error):
    broken = []

    def fail(*given):
        if explorer.training.step == 12 and not broken:
            broken.append(1)
            raise error

    handle = explorer.model.register_forward_hook(fail)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            explorer.train()
        assert explorer.error == "training was interrupted at step 12: press go on, or call train()"
        assert explorer.step == 10
    else:
        explorer.train()
        assert explorer.error == "training ended at step 12: RuntimeError: out of memory"
    assert (explorer.running, explorer.controls.run.description) == (False, "go on")
    assert explorer.status.value == f"⚠ {explorer.error}"
    handle.remove()
    explorer.train()
    assert explorer.error == ""
    assert same(explorer.result, whole())


def test_heads_of_several_layers_can_be_chosen_and_each_layer_has_its_curve_where_there_is_room():
    explorer = explore("two", names=["sink", "drain", "backcopy_accuracy"])
    explorer.finish()
    assert explorer.controls.head.options == ("0.0", "0.1", "1.0", "1.1")
    assert explorer.view._frame["names"] == [
        "layer 0: sink",
        "layer 1: sink",
        "layer 0: drain",
        "layer 1: drain",
        "backcopy accuracy",
    ]
    before = explorer.view._frame["levels"]
    explorer.controls.head.value = "1.1"
    assert (explorer.head, explorer.view._frame["label"]) == ("1.1", "attention of 1.1")
    assert explorer.view._frame["levels"] != before
    crowded = explore("two")
    crowded.head = "1.0"
    names = crowded.view._frame["names"]
    assert len(names) == 6
    assert next(name for name in names if "layer" in name) == "layer 1: sink"
    crowded.variant = "plain"
    assert (crowded.head, crowded.controls.head.layout.display) == ("0.0", "none")


def test_attention_above_one_is_cut_off_and_numbers_that_are_none_leave_the_last_picture():
    explorer = explore("relu")
    with torch.no_grad():
        explorer.model.blocks[0].attn.W_Q.mul_(30)
    looks = explorer._run.looks
    looks.take(explorer.model, 0)
    assert looks.maps("0.0").max() == 1
    assert looks.maps("0.0").long_name == "attention of 0.0 (above 1: cut off)"
    with torch.no_grad():
        explorer.model.embed.W_E.fill_(np.nan)
    looks.take(explorer.model, 5)
    assert looks.maps("0.0").step.values.tolist() == [0]
    diverged = explore(variants={"wild": (SMALL, {"lr": 1e30, "optimizer": "sgd"})}, config="wild")
    diverged.train()
    assert (diverged.error, diverged.step) == ("", 20)
    assert np.isnan(sent(diverged, "mean").reshape(6, -1)[3, -1])


def test_a_long_training_sends_a_bounded_number_of_maps(monkeypatch):
    monkeypatch.setattr(LOOKS, "_MOST", 8)
    explorer = explore(measure_every=1, steps=40)
    explorer.train()
    steps = sent(explorer, "map_steps", np.int32)
    assert len(steps) == 8
    assert (steps[0], steps[-1]) == (0, 40)
    assert np.diff(steps).max() <= 10
    assert len(sent(explorer, "steps", np.int32)) == 41


def test_a_model_without_attention_has_curves_alone():
    explorer = explore(TinyConfig(**TINY, attention="none"), names=["bigram_excess", "sink"])
    explorer.train()
    assert (explorer.variant, explorer.head, explorer.error, explorer.step) == ("given", "", "", 20)
    assert explorer.view._frame["queries"] == []
    assert explorer.view._frame["names"] == ["bigram excess", "sink"]


def test_other_data_and_other_measures_are_shown_as_they_are():
    class Coins:
        labels = ("heads", "tails", "edge")

        def sample(self, batch, length, generator):
            return torch.randint(0, 2, (batch, length), generator=generator)

        def domains(self, ids):
            return {"all": torch.ones_like(ids, dtype=torch.bool)}

        def describe(self):
            return {"kind": "coins", "chain": "fair"}

        def tensors(self):
            return {}

    def norm(model):
        return {"embedding": model.embed.W_E.norm().item()}

    explorer = explorers.training("relu", data=Coins(), measure=norm, steps=2, measure_every=1)
    assert explorer.training.config.vocabulary == 3
    explorer.train()
    assert explorer.view._frame["names"] == ["embedding", "loss all"]
    assert " · loss all " in explorer.state
    assert set(explorer.view._frame["queries"]) <= {"heads", "tails"}


def test_the_usual_variants_are_those_of_the_shipped_trajectories():
    assert list(VARIANTS) == ["softmax", "relu", "clipped", "gated", "sgd", "attention only", "three layers"]
    assert explorers.training(TinyConfig(), steps=1).variant == "softmax"
    explorer = explorers.training("three layers", steps=1)
    assert explorer.head == "1.0"
    assert len(explorer.view._frame["names"]) == 8
    assert repr(explorers.training(seed=2)) == "TrainingExplorer('softmax', seed=2, step=0)"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: explore("silent"), InputError, "no variant 'silent': expected one of plain, relu, two"),
        (lambda: explore(None, variants={}), InputError, "at least one variant"),
        (lambda: explore(variants={"plain": SMALL}), InputError, "'plain' as a TinyConfig and a mapping"),
        (lambda: explore(variants={"plain": (SMALL, {"rate": 1})}), OptionError, "has no option 'rate'"),
        (lambda: explore(variants={"plain": (SMALL, {"seed": 1})}), OptionError, "has no option 'seed'"),
        (lambda: explore(names=["sinks"]), InputError, "expected names= as 1 to 8 of backcopy_accuracy.*got 'sinks'"),
        (lambda: explore(names=[]), InputError, "expected names= as 1 to 8"),
        (lambda: explore(steps=0), InputError, "steps=0"),
        (lambda: explore(seed=-1), InputError, "expected seed as 0 or more"),
        (lambda: explore(measure_every=0), InputError, "measure_every=0"),
        (lambda: explore(keep=0), InputError, "keep"),
        (lambda: explore(TinyConfig(vocabulary=9)), InputError, "set vocabulary=64"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_clicks_from_another_thread_are_answered_by_the_main_one(steps_one_by_one):
    """The widget callbacks of a kernel come like this while a cell is running."""
    threads = set()

    async def main():
        explorer = explore()
        explorer.observe(lambda change: threads.add(threading.get_ident()), ["running", "step"])

        def click():
            explorer.train()
            for seed in range(1, 5):
                explorer.controls.seed.value = seed
            explorer.train()

        clicks = threading.Thread(target=click)
        clicks.start()
        clicks.join()
        assert explorer.training.step == 0
        await until(lambda: explorer.training.step == 20 and not explorer.running)
        return explorer

    explorer = asyncio.run(main())
    assert threads == {threading.get_ident()}
    assert explorer.seed == 4
    assert same(explorer.result, whole(seed=4))


def test_where_no_loop_runs_it_can_be_stopped_from_what_follows_it(explorer, steps_one_by_one):
    explorer.observe(lambda change: explorer.stop(), "step")
    explorer.train()
    assert (explorer.training.step, explorer.running, explorer.error) == (5, False, "")
    explorer.unobserve_all("step")
    explorer.train()
    assert same(explorer.result, whole())


def test_closing_stops(steps_one_by_one):
    async def main():
        explorer = explore()
        explorer.train()
        await until(lambda: explorer.training.step == 2)
        explorer.close()
        assert not explorer.running
        assert explorer.training.step == 2

    asyncio.run(main())


def test_repeated_trainings_leave_one_model_and_memory_flat(explorer):
    def left(seed):
        explorer.seed = seed
        explorer.train()
        gc.collect()
        objects = gc.get_objects()
        return sum(type(each) is TinyTransformer for each in objects), len(objects)

    counts = [left(seed) for seed in range(1, 5)]
    assert {models for models, _ in counts[1:]} == {counts[0][0]}
    assert counts[-1][1] - counts[1][1] < 50


def test_it_is_stored_as_text_picture_and_page_and_saved(explorer, tmp_path):
    for _ in range(2):
        data = explorer._repr_mimebundle_()
        assert data["text/plain"] == repr(explorer)
        assert data["image/png"].startswith(b"\x89PNG")
        assert data["text/html"].count("<script>") == 1
        explorer.finish()
    assert explorer.save(tmp_path / "view.html").stat().st_size > 1000
    assert isinstance(explorer.rows[0][0], views.Scrubber)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_axis_of_a_scrubber_can_end_where_training_will(scale):
    def curve(*steps):
        return xr.DataArray(np.arange(len(steps)), {"step": [*steps]}, ("step",), name="loss")

    view = views.scrubber(curve(0), until=1000, scale=scale)
    assert (view.newest, view.nearest(400), view._frame["ticks"][-1][1]) == (0, 0, "1,000")
    assert np.frombuffer(view._frame["places"], "f4").tolist() == [0]
    view.show(curve(0, 100), until=1000, scale=scale)
    assert view.nearest(900) == 100
    assert 0.09 < np.frombuffer(view._frame["places"], "f4")[1] < 0.2 or scale == "log"
    past = views.scrubber(curve(0, 100), until=50, scale=scale)
    assert np.frombuffer(past._frame["places"], "f4")[1] == 1
    with pytest.raises(InputError, match="expected until= as a step after 0, the first one, got 0"):
        views.scrubber(curve(0), until=0)
    with pytest.raises(ArrayError, match="2 or more steps"):
        views.scrubber(curve(0))
