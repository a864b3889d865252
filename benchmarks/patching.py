"""Activation patching beside TransformerLens and beside its own floor. One JSON line per figure.

Run with ``python benchmarks/patching.py``, or with the names of some groups of figures: ``main length prompts layers
estimate path memory``. The floor of a sweep is the multiply-adds that no exact method can avoid (layers from the
patched one on, positions from the patched one on, cells in which the two runs differ at all), divided by the rate that
this machine's matrix products reach in the same run. TransformerLens is timed on a sample of cells, in turns with ours;
the load is printed beside each figure, because on a busy machine only ratios mean anything.
"""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TQDM_DISABLE"] = "1"  # TransformerLens shows a bar for each sweep

import pandas as pd
import torch
from transformer_lens import patching as lens

import nbtools as nb

ROUNDS, SAMPLE = int(os.environ.get("ROUNDS", "3")), 24
IOI = "When Mary and John went to the store, John gave a drink to"


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def say(name: str, **figures: object) -> None:
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
    where = {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({"figure": name} | rounded | where), flush=True)


def rate(cfg, rows: int = 2048) -> float:
    """Give the multiply-adds a second that products of the model's own shapes reach; the best of several."""
    left, weight = torch.randn(rows, cfg.d_model), torch.randn(cfg.d_mlp, cfg.d_model)
    best = min(seconds(lambda: torch.nn.functional.linear(left, weight)) for _ in range(30))
    return rows * cfg.d_model * cfg.d_mlp / best


def floor(model, cells: list[tuple[int, int]], length: int) -> float:
    """Give the multiply-adds of cells (layer, first position)."""
    cfg = model.cfg
    keys = (cfg.n_key_value_heads or cfg.n_heads) * cfg.d_head
    per_token = 2 * cfg.d_model * cfg.d_model + 2 * cfg.d_model * keys + 3 * cfg.d_model * cfg.d_mlp
    return sum((cfg.n_layers - layer) * (length - start) * per_token for layer, start in cells)


def peer(model, task, setter, name: str, axes: list[str], sample: list[tuple[int, ...]]) -> Callable[[], object]:
    """Give TransformerLens's sweep over a sample of cells."""
    with torch.no_grad():
        _, cache = model.run_with_cache(task.clean.ids)
    table = pd.DataFrame(sample, columns=axes)

    def metric(logits):
        return task.metric(logits[:, -1]).mean()

    @torch.no_grad()
    def run():
        return lens.generic_activation_patch(
            model, task.corrupted.ids, cache, metric, setter, name, index_axis_names=None, index_df=table
        )

    return run


def figure(name: str, model, task, ours, theirs, cells: list[tuple[int, int]], total: int) -> None:
    ours(), theirs()
    rounds = [(seconds(ours), seconds(theirs), rate(model.cfg)) for _ in range(ROUNDS)]
    mine, sampled = (statistics.median(each[at] for each in rounds) for at in (0, 1))
    scaled = sampled / SAMPLE * total
    least = floor(model, cells, len(task.clean)) / max(each[2] for each in rounds)
    say(
        name, cells=total, prompts=len(task), tokens=len(task.clean), layers=model.cfg.n_layers, seconds=mine,
        peer="transformer_lens.patching", peer_seconds=scaled, peer_cells_timed=SAMPLE,
        times_faster=round(scaled / mine, 1), floor_seconds=least, floor_share=round(least / mine, 2),
    )  # fmt: skip


def spaced(cells: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [cells[round(at * (len(cells) - 1) / (SAMPLE - 1))] for at in range(SAMPLE)]


def streams(model, task, name: str, positions: list[int] | None = None) -> None:
    layers, first = range(model.cfg.n_layers), min(task.first_difference)
    columns = range(len(task.clean)) if positions is None else positions
    every = [(layer, position) for layer in layers for position in columns]
    open_cells = [(layer, position) for layer, position in every if position >= first] * len(task)
    theirs = peer(model, task, lens.layer_pos_patch_setter, "resid_pre", ["layer", "pos"], spaced(every))
    ours = partial(nb.patching.patch, model, task, "resid_pre", positions=positions)
    figure(name, model, task, ours, theirs, open_cells, len(every))


def heads(model, task) -> None:
    layers, length, first = range(model.cfg.n_layers), len(task.clean), task.first_difference[0]
    every = [(layer, head) for layer in layers for head in range(model.cfg.n_heads)]
    theirs = peer(model, task, lens.layer_head_vector_patch_setter, "z", ["layer", "head"], spaced(every))
    cells = [(layer, first) for layer, _ in every]
    ours = partial(nb.patching.patch, model, task, "z")
    figure("heads, all positions", model, task, ours, theirs, cells, len(every))
    each = [(layer, at, head) for layer in layers for at in range(length) for head in range(model.cfg.n_heads)]
    theirs = peer(model, task, lens.layer_pos_head_vector_patch_setter, "z", ["layer", "pos", "head"], spaced(each))
    cells = [(layer, position) for layer, position, _ in each if position >= first]
    ours = partial(nb.patching.patch, model, task, "z", over=("position", "head"))
    figure("heads by position", model, task, ours, theirs, cells, len(each))


def first_name_differs(model):
    return nb.tasks.pair(model, IOI, IOI.replace("When Mary", "When Anna"), " Mary", " Anna")


def main_figures(model) -> None:
    late = nb.tasks.pair(model, IOI, IOI.replace("John gave", "Mary gave"), " Mary", " John")
    streams(model, first_name_differs(model), "residual stream, first name differs")
    streams(model, late, "residual stream, second mention differs")
    heads(model, first_name_differs(model))


def by_length(model) -> None:
    """A story before the pair's prompt makes it longer; of the long prompts eight positions are swept."""
    streams(model, first_name_differs(model), "residual stream by length of the prompt")
    sentence = " The shops were open all day long in the old town by the river."
    story = nb.models.tokens(model, 20 * sentence).ids[0].tolist()
    prompt = nb.models.tokens(model, " " + IOI).ids[0].tolist()
    mary, anna = (nb.models.tokens(model, name).ids[0, 0].item() for name in ("Mary", "Anna"))
    for length in (64, 256):
        rest = [*story[: length - 1 - len(prompt)], *prompt]
        task = nb.tasks.pair(model, [mary, *rest], [anna, *rest], " Mary", " Anna")
        positions = [round(at * (length - 1) / 7) for at in range(8)]
        streams(model, task, "residual stream by length of the prompt", positions)


def by_prompts(model) -> None:
    for prompts in (1, 4, 16):
        task = nb.tasks.ioi(model, prompts=prompts, template=0, corruption="names")
        streams(model, task, "residual stream by number of pairs, first name differs")


def by_layers(_: object) -> None:
    """Random Llama models of one width, without a tokenizer."""
    import transformers
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    for layers in (4, 8, 16, 32):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=1000, hidden_size=256, intermediate_size=704, num_hidden_layers=layers, num_attention_heads=4
        )
        module = transformers.LlamaForCausalLM(config).eval()
        model = build_bridge_from_module(module, "LlamaForCausalLM", hf_config=config, model_name="random Llama")
        clean = torch.randint(1000, (14,)).tolist()
        task = nb.tasks.pair(model, clean, [(clean[0] + 1) % 1000, *clean[1:]], [7], [8])
        nb.patching.prove(model)
        streams(model, task, "residual stream by number of layers, d_model 256")


def estimate(model) -> None:
    """The whole grid of attribution patching, in forward-and-backward passes of the plain model."""
    task = first_name_differs(model)

    def both_ways():
        embedded = model.original_model.get_input_embeddings()(task.clean.ids).detach().requires_grad_(True)
        out = model.original_model(inputs_embeds=embedded).logits[:, -1]
        torch.autograd.grad(task.metric(out).sum(), embedded)

    for site in ("resid_pre", "attn_out", "z", "neurons"):
        ours = partial(nb.patching.attribute, model, task, site)
        ours(), both_ways()
        times = [(seconds(ours), seconds(both_ways)) for _ in range(2 * ROUNDS)]
        mine, one = (statistics.median(each[at] for each in times) for at in (0, 1))
        say(f"attribution, {site}", seconds=mine, forward_and_backward_seconds=one, passes=round(mine / one, 1))


def one_by_one(model, task, receivers: list[tuple[int, int]], sample: list[tuple[int, int]]) -> Callable[[], object]:
    """Give path patching as it is done with hooks: for each sender one run that is frozen, and one that is read."""
    layers = range(model.cfg.n_layers)
    names = [f"blocks.{layer}.attn.hook_z" for layer in layers]
    with torch.no_grad():
        _, base = model.run_with_cache(task.corrupted.ids, names_filter=names)
        _, source = model.run_with_cache(task.clean.ids, names_filter=names)

    @torch.no_grad()
    def one(layer: int, head: int) -> torch.Tensor:
        def hold(at: int):
            z = base[names[at]].clone()
            if at == layer:
                z[:, -1, head] = source[names[at]][:, -1, head]
            return lambda value, hook: z

        held = [(name, hold(at)) for at, name in enumerate(names)]
        if not receivers:
            return task.metric(model.run_with_hooks(task.corrupted.ids, fwd_hooks=held)[:, -1])
        read, queries = {}, [f"blocks.{at}.attn.hook_q" for at in {at for at, _ in receivers}]
        keep = [(name, lambda value, hook: read.update({hook.name: value.clone()})) for name in queries]
        model.run_with_hooks(task.corrupted.ids, fwd_hooks=[*held, *keep], stop_at_layer=receivers[-1][0] + 1)
        heads = [head for _, head in receivers]

        def put(value, hook):
            value = value.clone()
            value[:, -1, heads] = read[hook.name][:, -1, heads]
            return value

        return task.metric(model.run_with_hooks(task.corrupted.ids, fwd_hooks=[(name, put) for name in queries])[:, -1])

    return lambda: [one(*sender) for sender in sample]


def paths(model) -> None:
    """Path patching of every head at END, beside a hooked forward pass for each sender (two where heads receive)."""
    task, heads = nb.tasks.ioi(model, prompts=1), range(model.cfg.n_heads)
    for name, receivers in (("logits", None), ("queries of 23.0 23.1 23.7", [(23, 0), (23, 1), (23, 7)])):
        below = range(model.cfg.n_layers if receivers is None else receivers[-1][0])
        every = [(layer, head) for layer in below for head in heads]
        theirs = one_by_one(model, task, receivers or [], spaced(every))
        for mlps in ("recomputed", "frozen"):
            ours = partial(nb.patching.path_patch, model, task, receivers=receivers, positions="END", mlps=mlps)
            ours(), theirs()
            rounds = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
            mine, sampled = (statistics.median(each[at] for each in rounds) for at in (0, 1))
            scaled = sampled / SAMPLE * len(every)
            say(
                f"paths to the {name}, MLPs {mlps}", senders=len(every), tokens=len(task.clean), seconds=mine,
                peer="hooks, MLPs recomputed, sender by sender", peer_seconds=scaled, peer_senders_timed=SAMPLE,
                times_faster=round(scaled / mine, 1),
            )  # fmt: skip


def resident(field: str) -> float:
    """Read a line of /proc/self/status, in megabytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1000


def memory(model) -> None:
    """Peak memory of sweeps beyond what was resident before, for several budgets; Linux only."""

    def loss(logits):
        return logits.log_softmax(-1).amax(-1).mean(1)

    for name, options in (
        ("heads by position", {"site": "z", "over": ("position", "head"), "layers": [12, 13]}),
        ("logits of all positions", {"site": "resid_pre", "layers": [27], "metric": loss, "reads": "all"}),
    ):
        for budget in (20, 40, 160):
            run = partial(nb.patching.patch, model, first_name_differs(model), budget_mb=budget, **options)
            run()
            ctypes.CDLL(None).malloc_trim(0)  # what earlier runs left does not count
            Path("/proc/self/clear_refs").write_text("5")
            before = resident("VmRSS")
            run()
            peak = resident("VmHWM") - before
            say(f"memory, {name}", budget_mb=budget, peak_mb=peak, within=peak <= budget)


def main() -> None:
    warnings.simplefilter("ignore")
    model = nb.load()
    nb.setup(seed=0, threads=int(os.environ["THREADS"]) if "THREADS" in os.environ else None)
    nb.patching.prove(model)
    groups = {
        "main": main_figures,
        "length": by_length,
        "prompts": by_prompts,
        "layers": by_layers,
        "estimate": estimate,
        "path": paths,
        "memory": memory,
    }
    for name in sys.argv[1:] or groups:
        groups[name](model)


if __name__ == "__main__":
    main()
