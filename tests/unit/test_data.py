"""What is shipped in data/ is what its scripts wrote, and small."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from safetensors.torch import load_file

from nbtools.patching import SINK_INTERVENTIONS
from nbtools.tasks import WINDOW_KINDS
from nbtools.training import Trajectory

DATA = Path(__file__).parents[2] / "data"
SHIPPED = [path for path in sorted(DATA.rglob("*")) if path.is_file() and path.suffix not in (".py", ".md", ".pyc")]
SUMS = DATA / "SHA256SUMS"


def test_every_file_has_the_checksum_that_is_stored():
    stored = {name: digest for digest, name in (line.split("  ") for line in SUMS.read_text().splitlines())}
    found = {
        path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in SHIPPED
        if path != SUMS
    }
    assert found == stored, "run `make sums` if a file was made again"


def test_every_file_has_a_card():
    cards = (DATA / "README.md").read_text(encoding="utf-8")
    missing = [path for path in SHIPPED if path != SUMS and path.relative_to(DATA).as_posix() not in cards]
    assert not missing


def test_the_folder_stays_small():
    sizes = [path.stat().st_size for path in SHIPPED]
    assert max(sizes) < 5_000_000 and sum(sizes) < 40_000_000


def test_each_stored_direction_is_a_unit_vector_with_its_measures():
    directions = load_file(DATA / "subspaces/directions.safetensors")
    orders = pd.read_csv(DATA / "subspaces/orders.csv")
    about = orders[["site", "layer", "how", "seed", "weights"]].drop_duplicates().astype(str)
    assert set(directions) == {".".join(row) for row in about.itertuples(index=False)}
    for name, direction in directions.items():
        assert len(direction) == (1536 if name.startswith("neurons") else 576)
        assert abs(direction.norm() - 1) < 1e-4
    assert (orders.groupby(["site", "layer", "how", "seed", "weights"]).size() == 5).all()


def test_the_tables_of_domains_are_whole_and_their_intervals_hold_the_means():
    heads, costs, rounded = (pd.read_csv(DATA / f"domains/{name}.csv") for name in ("heads", "costs", "quantized"))
    assert heads.groupby("kind")["head"].nunique().to_dict() == dict.fromkeys(WINDOW_KINDS, 270)
    assert set(costs.intervention) == set(SINK_INTERVENTIONS) and len(costs) == 6 * len(WINDOW_KINDS)
    assert len(rounded) == 2 * 3 * 4 * len(WINDOW_KINDS)
    for table, figures in (
        (heads, ("attention", "forced", "ablated")),
        (costs, ("loss", "cost")),
        (rounded, ("cost",)),
    ):
        for figure in figures:
            assert (table[f"{figure}_low"] <= table[figure]).all() and (table[figure] <= table[f"{figure}_high"]).all()


def trajectories(folder: str, pattern: str = "*") -> dict[str, Trajectory]:
    return {path.stem: Trajectory.load(path) for path in sorted((DATA / folder).glob(f"{pattern}.safetensors"))}


def test_five_seeds_learn_in_context_in_one_jump_after_a_plateau_of_guesses_among_the_labels_of_the_context():
    measures = trajectories("in_context", "seeds")["seeds"].measures
    end = measures.sel(step=1500)
    assert measures.sizes["seed"] == 5 and end.in_context.min() > 0.9 and end.in_weights.max() < 0.15
    assert end.item_label.min() > 0.75 and end.target_label.min() > 0.85
    begins, ends = (passed(measures.in_context, level) for level in (0.25, 0.75))
    assert max(ends - begins) <= 200 and min(begins) >= 150 and max(ends) <= 500
    assert (passed(measures.context_label, 0.5) < passed(measures.target_label, 0.5)).all()


def test_classes_and_burstiness_decide_what_is_learned_in_each_of_three_seeds():
    runs = trajectories("in_context", "classes_*-burstiness_*")
    ends = {settings_of(run): run.measures.isel(step=-1) for run in runs.values()}
    assert set(ends) == {(classes, times) for classes in (64, 128, 256, 512, 1024, 2048) for times in (1, 2, 4)}
    assert all(end.sizes["seed"] == 3 for end in ends.values())
    for setting in ((64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (512, 1)):
        assert ends[setting].in_context.max() < 0.15 and ends[setting].in_weights.min() > 0.8, setting
    for setting in ((512, 2), (512, 4), *((classes, times) for classes in (1024, 2048) for times in (1, 2, 4))):
        assert ends[setting].in_context.min() > 0.9 and ends[setting].in_weights.max() < 0.15, setting


def settings_of(run: Trajectory) -> tuple[int, int]:
    about = run.data.describe()
    return about["classes"], about["burstiness"]


def test_five_language_models_of_two_layers_form_induction_heads_and_one_of_one_layer_does_not():
    runs = trajectories("induction")
    for seed in range(5):
        end = runs[f"two_layers-{seed}"].measures.isel(step=-1)
        assert (
            end.induction.sel(layer=1) > 0.5 and end.repeated_accuracy > 0.8 and end.previous_token.sel(layer=0) > 0.3
        )
        assert end.sink_novel.sel(layer=1) > 0.3 and end.sink_repeated.sel(layer=1) < 0.15
    one, without = (runs[name].measures.isel(step=-1) for name in ("one_layer", "no_repeats"))
    assert max(one.induction.max(), without.induction.max(), one.repeated_accuracy, without.repeated_accuracy) < 0.25


def passed(measure: xr.DataArray, level: float) -> np.ndarray:
    """The first measured step at which a measure is above a level, for each seed."""
    return measure.step.values[(measure > level).argmax("step").values]
