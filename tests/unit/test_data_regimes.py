"""The regimes of the data: a cell is the mean of its training's seeds at the step, and a click opens that training."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import xarray as xr
from ipywidgets.widgets.widget import _instances

from nbtools import explorers
from nbtools.errors import ArrayError, DataError, InputError
from nbtools.training import ClassifierConfig, InContextProgress, TinyConfig, bigram_backcopy, in_context, train
from nbtools.views.head_grid.settings import SettingsGrid
from tests.unit.test_patching_explorer import until

SIZES = {"labels": 4, "pairs": 4, "dimensions": 6, "most_pairs": 4}
NETWORK = {"places": 9, "dimensions": 6, "labels": 4, "d_mlp": 8}
CLASSES, TIMES = (8, 16, 32), (1, 2)


def learned(network=None, *, seed=(0, 1), keep=(0, 20), lr=None, every=10, **data):
    given = in_context(**SIZES | data)
    config = ClassifierConfig(**NETWORK | {"labels": len(given.label_vectors)} | (network or {}))
    measure, seed = InContextProgress(given, sequences=16), seed if isinstance(seed, int) else list(seed)
    return train(config, given, steps=20, batch=8, measure_every=every, measure=measure, seed=seed, keep=keep, lr=lr)


def table(network=None, **options):
    return [
        learned(network, classes=classes, burstiness=times, **options) for classes, times in product(CLASSES, TIMES)
    ]


@pytest.fixture(scope="module")
def runs():
    return table()


@pytest.fixture
def explorer(runs):
    return explorers.data_regimes(runs)


def drawn(explorer):
    """Give the numbers on the page by the names of their cells."""
    frame = explorer.grid._frame
    names = [f"{row}, {column}" for row in frame["layers"] for column in frame["heads"]]
    return dict(zip(names, np.frombuffer(frame["values"], np.float32), strict=True))


def curves(explorer):
    frame = explorer.curves._frame
    return {
        kind: dict(zip(frame["names"], np.frombuffer(frame[kind], np.float32).reshape(-1, 3), strict=True))
        for kind in ("mean", "low", "high")
    }


def test_each_cell_is_the_mean_of_its_seeds_at_the_last_step_and_their_range_is_told(runs, explorer):
    frame, measured = explorer.grid._frame, {}
    assert (frame["names"], frame["layers"], frame["heads"]) == (
        ["burstiness", "classes"],
        ["2", "1"],
        ["8", "16", "32"],
    )
    for run in runs:
        name = f"{run.data.burstiness}, {len(run.data.class_vectors)}"
        measured[name] = run.measures.in_context.sel(step=20).values
    shown = drawn(explorer)
    assert shown.keys() == measured.keys()
    for name, note in zip(shown, frame["notes"], strict=True):
        assert shown[name] == pytest.approx(measured[name].mean())
        assert note == f"{measured[name].min():.3g} to {measured[name].max():.3g} in 2 seeds"
    assert (frame["vmin"], frame["vmax"], frame["label"]) == (0, 1, "in context")
    assert explorer.grid.title == "step 20, mean of 2 seeds"
    assert repr(explorer) == "DataRegimesExplorer(classes=3, burstiness=2, step=20, cell=(32, 2))"
    assert explorer.controls.about.value == "accuracy on classes that were never seen: what is learned in context"


def test_the_result_is_the_measure_at_the_step_over_both_settings_and_seed(runs, explorer):
    explorer.step, explorer.measure = 10, "in_weights"
    found = explorer.result
    assert found.dims == ("classes", "burstiness", "seed") and found.name == "in_weights" and found.step == 10
    for run in runs:
        cell = {"classes": len(run.data.class_vectors), "burstiness": run.data.burstiness}
        np.testing.assert_array_equal(found.sel(cell), run.measures.in_weights.sel(step=10))


def test_grid_and_curves_are_at_one_step_whichever_moves(explorer):
    explorer.curves.step = 12
    assert explorer.step == explorer.result.step == explorer.opened.step == 10
    assert explorer.grid.title == "step 10, mean of 2 seeds"
    explorer.step = -5
    assert explorer.curves.step == explorer.result.step == 0
    assert drawn(explorer)["2, 32"] == pytest.approx(float(explorer.result.sel(classes=32, burstiness=2).mean()))
    assert explorer.status.value.startswith("at step 0: for ")


def test_the_menu_has_what_all_measured_and_colours_keep_their_range_while_the_step_moves(explorer):
    menu = [name for _, name in explorer.controls.measure.options]
    assert menu == explorer.measures and menu[:3] == ["in_context", "swapped", "in_weights"] and "loss_train" in menu
    explorer.controls.measure.value = "novel_loss"
    assert explorer.measure == "novel_loss" and explorer.controls.about.value.startswith("loss on classes that were")
    highest = float(explorer.regimes.measures.novel_loss.max())
    ranges = set()
    for step in (0, 10, 20):
        explorer.step = step
        ranges.add((explorer.grid._frame["vmin"], explorer.grid._frame["vmax"]))
    assert ranges == {(0, highest)} and highest > 1
    explorer.measure = "swapped"
    assert explorer.controls.measure.value == "swapped" and explorer.grid._frame["vmax"] == 1
    assert repr(explorer) == "DataRegimesExplorer(classes=3, burstiness=2, measure='swapped', step=20, cell=(32, 2))"


def test_a_click_opens_a_training_with_its_curves_and_where_its_first_network_looks(runs, explorer):
    explorer.example, explorer.kind, explorer.step = 3, "swapped", 10
    explorer.grid.selected = ["1, 16"]
    run = next(run for run in runs if run.data.burstiness == 1 and len(run.data.class_vectors) == 16)
    assert explorer.cell == (16, 1) and explorer.run is explorer.opened.run is run
    for kind, reduced in (("mean", "mean"), ("low", "min"), ("high", "max")):
        expected = getattr(run.measures.in_context, reduced)("seed")
        np.testing.assert_allclose(curves(explorer)[kind]["in context"], expected, atol=1e-6)
    assert explorer.curves.title == "classes 16, burstiness 1: mean of 2 seeds; below it seed 0"
    assert (explorer.step, explorer.kind, explorer.example) == (10, "swapped", 3)
    episodes = run.data.progress(0).episodes["swapped"]
    model, one = run.model(0), episodes.tokens[3:4]
    first, last = model.attention(one)
    look = explorer.opened.result
    assert (look.attrs["step"], look.attrs["answer"]) == (0, int(episodes.answer[3]))
    np.testing.assert_allclose(look["first"], first[0].detach(), atol=1e-6)
    np.testing.assert_allclose(look["last"], last[0].detach(), atol=1e-6)
    np.testing.assert_allclose(look.probability, model(one)[0].softmax(-1).detach(), atol=1e-6)
    np.testing.assert_allclose(explorer.opened.first._patterns.numbers[0, 0], first[0].detach(), atol=1e-6)


def test_one_cell_is_always_open(explorer):
    explorer.grid.selected = []
    assert (explorer.cell, explorer.grid.selected) == ((32, 2), ["2, 32"])
    explorer.grid.selected = ["2, 32", "1, 8"]  # as a click with Shift does
    assert (explorer.cell, explorer.grid.selected) == ((8, 1), ["1, 8"])


def test_a_cell_is_chosen_by_its_values_or_by_its_name(explorer):
    for given, cell in (((8, 2), (8, 2)), ([16, 1], (16, 1)), ("2, 16", (16, 2)), ((np.int64(32), 1.0), (32, 1))):
        explorer.cell = given
        assert explorer.cell == cell and len(explorer.run.data.class_vectors) == cell[0] and explorer.error == ""
        assert explorer.grid.selected == [f"{cell[1]}, {cell[0]}"]


def test_the_sequence_follows_its_controls_in_whichever_cell_is_open(explorer):
    explorer.cell = (8, 1)
    explorer.opened.controls.kind.value = "weights"
    explorer.opened.controls.another.click()
    assert (explorer.kind, explorer.example) == ("weights", 1)
    explorer.example = 7
    assert explorer.opened.controls.example.value == 7 and explorer.opened.result.attrs["example"] == 7


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("measure", "sink", "expected measure as one of in_context, swapped, in_weights, .* got 'sink'"),
        ("cell", (8, 4), r"expected cell as a pair: classes of 8, 16, 32 and burstiness of 1, 2, got \(8, 4\)"),
        ("cell", None, "expected cell as a pair: .* got None"),
        ("cell", "8", "expected cell as a pair: .* got '8'"),
        ("kind", "old", "expected kind as one of novel, swapped, weights, got 'old'"),
        ("example", 512, "expected example from 0 to 511, got 512"),
    ],
)
def test_what_does_not_fit_is_explained_and_changes_nothing(explorer, name, value, said):
    before, shown, text = getattr(explorer, name), explorer.result, repr(explorer)
    setattr(explorer, name, value)
    assert explorer.status.value == f"⚠ {explorer.error}" and re.search(said, explorer.error)
    assert (getattr(explorer, name), explorer.result is shown, repr(explorer)) == (before, True, text)
    explorer.measure = "any_label"
    assert explorer.error == "" and explorer.status.value.startswith("at step ")


def test_a_training_that_diverged_is_hatched_and_what_is_open_stays(runs):
    broken = {name: torch.full_like(values, torch.nan) for name, values in runs[0].checkpoints.items()}
    measures = runs[0].measures.copy(deep=True)
    measures.in_context.loc[{"step": 20}] = np.inf
    measures.in_context.loc[{"step": 10, "seed": 1}] = np.nan
    explorer = explorers.data_regimes([replace(runs[0], checkpoints=broken, measures=measures), *runs[1:]])
    assert np.isnan(drawn(explorer)["1, 8"]) and explorer.grid._frame["notes"][3] == ""
    before = explorer.curves.title
    explorer.grid.selected = ["1, 8"]
    assert "attention or answers are not finite" in explorer.error
    assert (explorer.cell, explorer.grid.selected) == ((32, 2), ["2, 32"])
    assert explorer.run is explorer.opened.run and explorer.curves.title == before
    explorer.step = 10
    alone = float(measures.in_context.sel(step=10, seed=0))
    assert explorer.error == "" and drawn(explorer)["1, 8"] == pytest.approx(alone)
    assert explorer.grid._frame["notes"][3].endswith("in 1 of 2 seeds")


@pytest.mark.filterwarnings("error")
def test_what_no_training_has_is_hatched_everywhere():
    explorer = explorers.data_regimes(table({"layers": 1}), measure="item_label")
    assert np.isnan([*drawn(explorer).values()]).all() and set(explorer.grid._frame["notes"]) == {""}
    assert explorer.opened.first is None and explorer._repr_mimebundle_()["image/png"]


def test_other_settings_make_a_grid_too_and_numbers_need_not_be_whole():
    runs = [learned(classes=classes, zipf=zipf, seed=3) for classes, zipf in product((32, 8), (1.5, 0, 0.5))]
    explorer = explorers.data_regimes(runs, step=0, names=["swapped"])
    frame = explorer.grid._frame
    assert (frame["names"], frame["layers"], frame["heads"]) == (
        ["classes", "zipf"],
        ["32", "8"],
        ["0.0", "0.5", "1.5"],
    )
    assert (explorer.cell, explorer.step, frame["notes"]) == ((32, 1.5), 0, [""] * 6)
    assert (explorer.grid.title, explorer.curves.title) == ("step 0", "classes 32, zipf 1.5")
    assert explorer.curves._frame["names"] == ["swapped"] and explorer.result.dims == ("classes", "zipf", "seed")
    explorer.grid.selected = ["8, 0.5"]
    assert explorer.cell == (8, 0.5) and explorer.run.data.zipf == 0.5


def test_networks_may_differ_in_what_their_data_asks_for():
    runs = [learned(labels=labels, burstiness=times) for labels, times in product((4, 8), (1, 2))]
    assert explorers.data_regimes(runs).regimes.settings == {"labels": [4, 8], "burstiness": [1, 2]}


def test_files_and_their_folder_give_what_the_trainings_give(runs, explorer, tmp_path):
    paths = [tmp_path / f"{place}.safetensors" for place in range(len(runs))]
    for path, run in zip(paths, runs, strict=True):
        run.save(path)
    for given in (tmp_path, str(tmp_path), reversed(paths), [*map(str, paths[:3]), *runs[3:]]):
        found = explorers.data_regimes(given)
        assert repr(found) == repr(explorer) and found.result.identical(explorer.result)
    paths[0].write_bytes(b"")
    with pytest.raises(DataError, match="cannot read"):
        explorers.data_regimes(tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda runs: runs[0], "expected trajectories that differ in two settings .* got one Trajectory"),
        (lambda runs: [], "got 0 that differ in 0;"),
        (lambda runs: runs[::2], "got 3 that differ in 1: classes; choose by name"),
        (lambda runs: [*runs, learned(noise=0.4)], "got 7 that differ in 3: classes, burstiness, noise"),
        (
            lambda runs: runs[1:],
            "expected one run for each classes and burstiness, got none for classes=8, burstiness=1$",
        ),
        (lambda runs: [*runs, runs[2]], "got several for classes=16, burstiness=1$"),
        (lambda runs: [learned(classes=2 ** (k + 2), burstiness=1 + k % 2) for k in range(8)], "and 4 more$"),
        (lambda runs: [learned(classes=8, burstiness=1, lr=0.01), *runs[1:]], "alike, got lr 0.01 and 0.003$"),
        (lambda runs: [learned({"layers": 1}, classes=8, burstiness=1), *runs[1:]], "got layers 1 and 2$"),
        (lambda runs: [learned(classes=8, burstiness=1, seed=0), *runs[1:]], r"got seed \[0\] and \[0, 1\]$"),
        (lambda runs: [learned(classes=8, burstiness=1, every=5), *runs[1:]], "got measured steps .* and "),
        (lambda runs: [learned(classes=8, burstiness=1, keep=()), *runs[1:]], "no weights were kept in Traj.* keep=$"),
        (lambda runs: [*runs, runs[0].measures], "expected each run as a Trajectory, or the path of one, got Dataset"),
        (lambda runs: "/nowhere", "expected a folder of trajectories, .* got /nowhere, which is no folder"),
        (
            lambda runs: [train(TinyConfig(d_model=8, d_head=8, length=8), bigram_backcopy(), steps=1, batch=2)],
            "expected runs of in-context classification, got one of bigram_backcopy",
        ),
    ],
)
def test_runs_that_make_no_grid_are_refused(runs, given, said):
    with pytest.raises(InputError, match=said):
        explorers.data_regimes(given(runs))


def test_a_measure_or_curve_that_is_not_there_is_refused(runs):
    with pytest.raises(InputError, match=r"expected measure as one of in_context, .* got 'sink'"):
        explorers.data_regimes(runs, measure="sink")
    with pytest.raises(InputError, match="got 'sink'"):
        explorers.data_regimes(runs, names=["sink"])


def test_a_click_on_another_thread_that_fails_is_taken_back(runs):
    broken = {name: torch.full_like(values, torch.nan) for name, values in runs[0].checkpoints.items()}

    async def main():
        explorer = explorers.data_regimes([replace(runs[0], checkpoints=broken), *runs[1:]])
        await asyncio.to_thread(lambda: setattr(explorer.grid, "selected", ["1, 8"]))
        await until(lambda: explorer.error)
        assert (explorer.cell, explorer.grid.selected) == ((32, 2), ["2, 32"])

    asyncio.run(main())


def test_a_click_on_another_thread_never_runs_a_model_there(runs, monkeypatch):
    opened = []

    async def main():
        explorer = explorers.data_regimes(runs)
        turn = explorer.opened.turn_to
        monkeypatch.setattr(
            explorer.opened, "turn_to", lambda *asked: opened.append(threading.get_ident()) or turn(*asked)
        )
        await asyncio.to_thread(lambda: setattr(explorer.grid, "selected", ["1, 8"]))
        await until(lambda: explorer.opened.run is runs[0])
        assert explorer.cell == (8, 1) and explorer.grid.selected == ["1, 8"]

    asyncio.run(main())
    assert opened == [threading.get_ident()]


def test_many_steps_and_cells_keep_the_looks_of_one_training_only(explorer):
    before = len(_instances)
    for cell in explorer.regimes.runs:
        explorer.cell = cell
        for step in (0, 10, 20):
            explorer.step = step
        assert explorer.opened._look.cache_info().currsize <= 2
    assert len(_instances) == before


def test_what_is_stored_is_a_picture_that_is_the_same_each_time(runs):
    one, two = (explorers.data_regimes(runs, step=10)._repr_mimebundle_() for _ in range(2))
    assert one["image/png"] == two["image/png"] and one["image/png"].startswith(b"\x89PNG")
    assert one["text/plain"] == "DataRegimesExplorer(classes=3, burstiness=2, step=10, cell=(32, 2))"


ACCURACY = xr.DataArray(
    [[0.1, 0.9, np.nan], [0.2, 0.3, 0.4]], {"b": [2, 1], "classes": [64, 128, 256]}, ("b", "classes"), name="in_context"
)


def test_a_grid_of_settings_keeps_its_selection_and_lets_go_of_what_is_not_there():
    grid = SettingsGrid()
    grid.show(ACCURACY, vmin=0, vmax=1)
    grid.select((1, 128), "2, 256")
    assert grid.selected == ["1, 128", "2, 256"] and grid._frame["label"] == "in context"
    assert [grid.place(cell) for cell in grid.selected] == [(1, 1), (0, 2)]
    grid.show(ACCURACY.isel(classes=slice(2)), notes=list("abcd"))
    assert grid.selected == ["1, 128"] and grid._frame["notes"] == list("abcd")
    with pytest.raises(
        InputError, match="no cell '1, 256' in this grid: expected b as one of 2, 1 and classes as one of"
    ):
        grid.selected = ["1, 256"]
    assert grid.selected == ["1, 128"]
    assert grid._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("values", "notes", "said"),
    [
        ([[1.0]], None, "got list"),
        (ACCURACY.isel(b=0), None, r"over two settings, .* got \(classes\)"),
        (ACCURACY.drop_vars("b"), None, r"with the values of both as coordinates, got \(b, classes\)"),
        (ACCURACY, ["a"], "expected a note for each of 6 cells, got 1"),
    ],
)
def test_a_grid_of_settings_says_what_it_cannot_show(values, notes, said):
    with pytest.raises(ArrayError, match=said):
        SettingsGrid().show(values, notes=notes)
