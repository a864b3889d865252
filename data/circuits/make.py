"""Find the circuits of notebooks 03 and 04 on many prompts, and repair colored objects by them: ``make circuits``.

Two minutes on a GPU, hours on two cores. What is written stands beside this script: circuits, and tables.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd

import nbtools as nb
from nbtools.patching import Circuit, Node, Stage, circuit_search, force_attention, patch, pooled, searching
from nbtools.tasks import candidates

HERE = Path(__file__).parent
PROMPTS, SEEDS = 120, (0, 1, 2)
KEEP = 0.02  # of all heads, at each stage
EARLY = (0, 3, 6, 9)  # how many of the lowest layers are kept whole, beside the circuit
ROLES = {  # of notebook 03
    "name mover": ["23.0@END", "23.1@END", "23.2@END", "23.7@END"],
    "subject suppressor": ["23.3@END"],
    "copy suppressor": ["24.4@END"],
    "last layer": ["29.0@END", "29.1@END"],
    "S-inhibition": ["19.2@END", "20.0@END"],
    "induction": ["17.4@S2"],
    "previous token": ["16.0@S1+1"],
}
REPAIRS = {
    "none": (),
    "inhibition": ("19.2", "20.0"),
    "subject suppressor": ("23.3",),
    "copy suppressor": ("24.4",),
    "suppressors": ("23.3", "24.4"),
    "all": ("19.2", "20.0", "23.3", "24.4"),
}
GUESSING = (21, 5)  # of the second stage of colored objects, in all sentences
GATHERERS = ("19.1", "20.1")  # of the second stage of colored objects
RANDOM = 10  # draws of heads of the same layers, for each repair that edits any
LOOKING = ("23.0", "23.1", "23.7", "23.2", "24.4")
TEMPLATES = (0, 1, 2)  # of colored objects


def main() -> None:
    nb.setup(seed=0)
    model = nb.load()
    parts = {"repairs": repair_all, "attention": looks, "heads": each_head, "alone": alone}
    parts |= {"ablations": ablations, "guesses": guesses, "effects": search_all}
    for name in sys.argv[1:] or parts:
        began, rows = time.monotonic(), []
        for row in parts[name](model):
            rows.append(row)
            if len(rows) % 1000 == 0:  # what is known is written at once
                write(name, rows)
        write(name, rows)
        print(f"{name}: {len(rows)} rows in {time.monotonic() - began:.0f} s", flush=True)


def write(name: str, rows: list[dict]) -> None:
    pd.DataFrame(rows).round(4).to_csv(HERE / f"{name}.csv", index=False)


def tasks(model) -> dict[str, tuple[Callable, str]]:
    """For each task how it is drawn, and where its third stage looks."""
    found = {"ioi": (partial(nb.tasks.ioi, model), "S2")}
    for template in TEMPLATES:
        found[f"colored objects {template}"] = (partial(nb.tasks.colored_objects, model, template=template), "ASKED")
    return found | {"capitals": (partial(nb.tasks.facts, model, relation="capital"), "SUBJECT")}


def stages(position: str) -> list[Stage]:
    """Look for what writes the answer, what steers that, and what both were told; capitals are not steered."""
    told = "movers" if position == "SUBJECT" else "steering"
    return [
        Stage("movers"),
        Stage("steering", to="movers", through="q"),
        Stage("sources", to=told, through="v", position=position),
    ]


def search_all(model) -> Iterator[dict]:
    """Search each task's circuit with prompts of three seeds, and keep what every head did."""
    for name, (draw, position) in tasks(model).items():
        for seed in SEEDS:
            task = draw(prompts=PROMPTS, seed=seed)
            steps = stages(position)
            budget = 1024 if str(model.cfg.device) == "cpu" else 32_000
            options = {"keep": KEEP, "name": name, "edges": seed == 0, "budget_mb": budget}
            found = list(searching(model, task, steps, **options))
            for stage, (_, effect) in zip(steps, found, strict=True):
                for layer, head in np.argwhere(effect.notnull().values):
                    about = {"task": name, "seed": seed, "stage": stage.name, "layer": layer, "head": head}
                    yield about | {"effect": float(effect.values[layer, head])}
            circuit = found[-1][0]
            circuit.save(HERE / f"{name.replace(' ', '_')}-{seed}.json")
            print(name, seed, circuit, flush=True)


def named() -> Circuit:
    """Write down the circuit of notebook 03."""
    nodes = [Node.parse(node, role=role) for role, names in ROLES.items() for node in names]
    return Circuit(nodes, name="ioi")


def alone(model) -> Iterator[dict]:
    """Measure what circuits do alone: that of notebook 03, those that a search keeps, and early layers beside them."""
    circuits = {"named": named()}
    found = {keep: circuit_search(model, nb.tasks.ioi(model, prompts=48), stages("S2"), keep=keep) for keep in (5, 13)}
    circuits |= {f"searched, {keep} a stage": circuit for keep, circuit in found.items()}
    for seed in SEEDS:
        task = nb.tasks.ioi(model, prompts=PROMPTS, corruption="abc", seed=seed)
        for name, circuit in circuits.items():
            for early in EARLY if name == "named" else (0,):
                kept = [Node(f"{layer}.{head}") for layer in range(early) for head in range(model.cfg.n_heads)]
                measured = nb.patching.faithfulness(model, task, Circuit([*circuit.nodes, *kept]), batch=PROMPTS)
                for what in ("whole", "circuit", "empty"):
                    about = {"seed": seed, "circuit": name, "early": early, "nodes": len(circuit.nodes), "what": what}
                    yield about | interval(measured[what].values)


def repair_all(model) -> Iterator[dict]:
    """Force heads of the circuit of names onto the two wrong colors; and as many random heads of the same layers."""
    for name, (draw, _) in tasks(model).items():
        for seed in SEEDS:
            task = draw(prompts=PROMPTS, seed=seed)
            colors = name.startswith("colored")
            for repair, heads in REPAIRS.items() if colors else [("none", ())]:
                drawn = [heads] + [others(model, heads, n) for n in range(RANDOM if heads else 0)]
                for number, own in enumerate(drawn):
                    about = {"task": name, "seed": seed, "repair": repair, "random": number, "heads": " ".join(own)}
                    for figure, values in scores(model, task, own, colors).items():
                        yield about | {"figure": figure} | interval(values)
            print("repaired", name, seed, flush=True)


def others(model, heads: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Draw as many other heads of the same layers."""
    generator = np.random.default_rng(seed)
    layers = [int(head.split(".")[0]) for head in heads]
    drawn: list[str] = []
    for layer in layers:
        free = [f"{layer}.{head}" for head in range(model.cfg.n_heads)]
        drawn.append(str(generator.choice([head for head in free if head not in {*heads, *drawn}])))
    return tuple(drawn)


def wrong_colors(model, heads: tuple[str, ...]) -> Callable | None:
    if not heads:
        return None
    return lambda part: force_attention(model, part, heads, ["WRONG", "OTHER"])


def scores(model, task, heads: tuple[str, ...], colors: bool) -> dict[str, np.ndarray]:
    among = candidates(task) if colors else None
    found = nb.measures.score(model, task, edit=wrong_colors(model, heads), among=among, batch=PROMPTS)
    names = ["logit_difference", "correct", *(["correct_among"] if colors else [])]
    more = {} if colors else {"prefers": (found.logit_difference > 0).values.astype(float)}
    return {name: found[name].values for name in names} | more


def looks(model) -> Iterator[dict]:
    """Measure where heads look from the last token, with and without repair."""
    for seed in SEEDS:
        task = nb.tasks.colored_objects(model, prompts=PROMPTS, seed=seed)
        for repair, heads in REPAIRS.items():
            edit = force_attention(model, task, heads, ["WRONG", "OTHER"]) if heads else None
            keys = ["ANSWER", "WRONG", "OTHER"]
            paid = nb.measures.attention_to_positions(
                model, task.clean, task.positions, keys=keys, layers=[19, 20, 23, 24], edit=edit
            )
            for name in dict.fromkeys([*LOOKING, *sum(REPAIRS.values(), ())]):
                layer, head = map(int, name.split("."))
                for key in keys:
                    found = paid.sel(layer=layer, head=head, key=key)
                    yield {"seed": seed, "repair": repair, "head": name, "key": key} | interval(found.values)


def each_head(model) -> Iterator[dict]:
    """Force every head alone, and compare with what it does in the task of names."""
    names = nb.tasks.ioi(model, prompts=PROMPTS)
    effect = pooled(patch(model, names, "z", over=("position", "head"), positions=["END"], direction="noising"))
    task = nb.tasks.colored_objects(model, prompts=PROMPTS)
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            found = scores(model, task, (f"{layer}.{head}",), colors=True)
            means = {figure: values.mean() for figure, values in found.items()}
            yield {"layer": layer, "head": head, "ioi": float(effect.sel(layer=layer, head=head).item())} | means


def ablations(model) -> Iterator[dict]:
    """Take out the heads that tell movers which thing is asked about, and random heads of the same layers."""
    for seed in SEEDS:
        task = nb.tasks.colored_objects(model, prompts=PROMPTS, seed=seed)
        for number in range(1 + RANDOM):
            heads = GATHERERS if number == 0 else others(model, GATHERERS, number)
            edit = nb.patching.ablation(model, "z", heads=heads)
            found = nb.measures.score(model, task, edit=edit, among=candidates(task))
            for figure in ("logit_difference", "correct", "correct_among"):
                about = {"seed": seed, "random": number, "heads": " ".join(heads), "figure": figure}
                yield about | interval(found[figure].values)


def guesses(model) -> Iterator[dict]:
    """Take the color that a head looks at most as a guess, without a label; and repair by the guess of one head."""
    for template in TEMPLATES:
        for seed in SEEDS:
            task = nb.tasks.colored_objects(model, prompts=PROMPTS, template=template, seed=seed)
            parts = [task[start : start + 24] for start in range(0, PROMPTS, 24)]
            paid = np.concatenate([attention(model, part) for part in parts])
            right = (paid.argmax(-1) == 0).mean(0)
            about = {"task": f"colored objects {template}", "seed": seed}
            for layer, head in np.ndindex(right.shape):
                yield about | {"layer": layer, "head": head, "figure": "guess is right", "mean": right[layer, head]}
            layer, head = GUESSING
            guess = paid[:, layer, head].argmax(-1)
            for figure, values in guided(model, task, guess).items():
                yield about | {"layer": layer, "head": head, "figure": figure} | interval(values)


def attention(model, task) -> np.ndarray:
    """Give the attention that every head pays to the three colors, from the last token."""
    keys = ["ANSWER", "WRONG", "OTHER"]
    paid = nb.measures.attention_to_positions(model, task.clean, task.positions, keys=keys)
    return paid.sel(key=keys).values


def guided(model, task, guess: np.ndarray) -> dict[str, np.ndarray]:
    """Force the suppressors onto the two colors that were not guessed."""
    places = np.array([task.positions[name] for name in ("ANSWER", "WRONG", "OTHER")]).T
    left = [[int(row[(at + step) % 3]) for row, at in zip(places, guess, strict=True)] for step in (1, 2)]
    named = replace(task, positions=task.positions | dict(zip(("X", "Y"), left, strict=True)))
    heads = REPAIRS["suppressors"]
    found = nb.measures.score(
        model, named, edit=lambda part: force_attention(model, part, heads, ["X", "Y"]), among=candidates(task)
    )
    says = {"says the guess": (found.chosen.values == guess).astype(float)}
    return says | {figure: found[figure].values for figure in ("correct", "correct_among")}


def interval(values: np.ndarray) -> dict[str, float]:
    """Give a mean and its 95 % interval, by drawing prompts anew."""
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return {"prompts": len(values), "mean": values.mean(), "low": low, "high": high}


if __name__ == "__main__":
    main()
