"""What is shipped in data/ is what its scripts wrote, and small."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from nbtools.patching import SINK_INTERVENTIONS
from nbtools.tasks import WINDOW_KINDS

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
