"""Circuits: as data, searched stage by stage, run alone, and compared."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from nbtools.errors import HookError, InputError
from nbtools.patching import (
    Circuit,
    Edge,
    Node,
    Stage,
    circuit_search,
    completeness,
    faithfulness,
    minimality,
    overlap,
    path_patch,
    pooled,
    searching,
)
from nbtools.tasks import Task, pair
from tests.conftest import hooks_left
from tests.families import bridge

CLEAN = [[5, 17, 3, 88, 17, 9, 40, 2], [5, 17, 4, 80, 17, 9, 40, 2], [6, 11, 3, 88, 11, 9, 4, 2]]
CORRUPTED = [[5, 17, 60, 88, 17, 9, 41, 2], [5, 17, 61, 80, 17, 9, 41, 2], [6, 11, 62, 88, 11, 9, 5, 2]]
STAGES = [Stage("movers"), Stage("steering", to="movers", through="q"), Stage("told", to="movers", through="v")]


def task_of(model) -> Task:
    """Three prompts with two named places, of which one differs from prompt to prompt."""
    one = pair(model, CLEAN[0], CORRUPTED[0], [7], [8])
    ids = [torch.tensor(side, device=model.cfg.device) for side in (CLEAN, CORRUPTED)]
    sides = [
        type(one.clean)(side, [[str(token) for token in row] for row in side.tolist()], single=False) for side in ids
    ]
    places = {"A": [2, 2, 2], "B": [4, 5, 6], "END": [7, 7, 7]}
    answers = (torch.tensor(tokens, device=model.cfg.device) for tokens in ([7, 7, 9], [8, 8, 10]))
    return Task("three", *sides, *answers, places, one.model_name)


# As data


def test_a_circuit_comes_back_from_its_file_as_it_was(tmp_path):
    nodes = [Node("23.0", "END", "name mover", 0.25, "movers"), Node("mlp2"), Node("logits"), Node("1.7", "S1+1")]
    circuit = Circuit(
        nodes, [Edge("1.7@S1+1", "23.0@END", "k", -0.5), Edge("23.0@END", "logits")], "names", {"heads": 9}
    )
    again = Circuit.load(circuit.save(tmp_path / "names.json"))
    assert repr(again) == repr(circuit) and (again.name, again.attrs) == ("names", {"heads": 9})
    assert [str(node) for node in again.nodes] == [str(node) for node in nodes]
    assert [str(edge) for edge in again.edges] == [str(edge) for edge in circuit.edges]
    assert [path.name for path in tmp_path.iterdir()] == ["names.json"]


@given(
    some.lists(
        some.builds(
            Node,
            some.tuples(some.integers(0, 40), some.integers(0, 20)).map(lambda head: f"{head[0]}.{head[1]}"),
            some.sampled_from(["", "END", "S1+1", "Ü"]),
            some.text(max_size=9),
            some.floats(-9, 9).map(lambda value: round(value, 6)),
        ),
        unique_by=lambda node: node.name,
    )
)
def test_any_circuit_can_be_written_and_read(tmp_path_factory, nodes):
    path = tmp_path_factory.mktemp("circuits") / "any.json"
    assert Circuit.load(Circuit(nodes).save(path)).nodes == tuple(nodes)


def test_what_is_no_circuit_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "other.json"
    for content in (
        "{",
        "[]",
        '{"format": "another"}',
        json.dumps({"format": "nbtools circuit 1", "nodes": [{"x": 1}]}),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match="holds no circuit"):
            Circuit.load(path)
    with pytest.raises(InputError, match="holds no circuit"):
        Circuit.load(tmp_path / "missing.json")
    with pytest.raises(InputError, match=r"each node once, got 1\.0 2 times"):
        Circuit([Node("1.0"), Node("1.0")])
    with pytest.raises(InputError, match=r"an end that is no node: 2\.0"):
        Circuit([Node("1.0")], [Edge("1.0", "2.0")])
    with pytest.raises(InputError, match="expected a part of a model"):
        Node("23")
    circuit = Circuit([Node("1.0", "END")])
    for wrong in (lambda: circuit["2.0"], lambda: circuit.without("2.0"), lambda: circuit.named({"mover": "2.0"})):
        with pytest.raises(InputError, match=r"no node '2\.0'"):
            wrong()


def test_parts_of_a_circuit_can_be_asked_for():
    nodes = [
        Node("0.1", "A", stage="told"),
        Node("1.1", "END", "mover", stage="movers"),
        Node("1.1", "A"),
        Node("logits"),
    ]
    edges = [Edge("0.1@A", "1.1@END", "v", -0.4), Edge("1.1@END", "logits", "", 0.2)]
    circuit = Circuit(nodes, edges, attrs={"layers": 4})
    assert circuit.heads() == ["0.1", "1.1"] and circuit.heads(position="A") == ["0.1", "1.1"]
    assert circuit.heads(role="mover") == circuit.heads(stage="movers") == ["1.1"]
    assert [node.name for node in circuit.above(0.3).nodes] == ["0.1@A", "1.1@END"]
    assert len(circuit.above(0.3, nodes=True)) == 4 and len(circuit.above(0.3, nodes=True).edges) == 1
    moved = circuit.at({"A": "S2"})
    assert [node.name for node in moved.nodes] == ["0.1@S2", "1.1@END", "1.1@S2", "logits"]
    assert [edge.sender for edge in moved.edges] == ["0.1@S2", "1.1@END"]
    assert len(circuit.without("1.1")) == 2 and not circuit.without("1.1@END").edges
    assert circuit.named({"reader": ["0.1"]}).roles == {"reader": ["0.1@A"], "mover": ["1.1@END"]}
    data = circuit.to_dataset()
    assert data["layer"].values.tolist() == [0, 1, 1, 4] and data.edge_effect.values.tolist() == [-0.4, 0.2]
    assert "1.1" in circuit and "1.1@A" in circuit and "1.2" not in circuit


# Searched


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2"])
def test_a_search_keeps_the_strongest_senders_of_each_stage(family):
    model = bridge(family)
    task = task_of(model)
    before = model(task.clean.ids)
    steps = list(searching(model, task, STAGES, keep=4))
    assert [len(circuit.heads()) <= 4 * n for n, (circuit, _) in enumerate(steps, 1)] == [True] * 3
    circuit, _ = steps[-1]
    direct = pooled(path_patch(model, task, positions="END", direction="noising"))
    order = np.argsort(-abs(direct.values), axis=None)[:4]
    best = [f"{place // 4}.{place % 4}" for place in order]
    assert circuit.heads(stage="movers") == best
    assert [edge.effect for edge in circuit.edges[:4]] == pytest.approx(direct.values.ravel()[order].tolist(), abs=1e-6)
    for edge in circuit.edges[4:]:
        alone = path_patch(
            model, task, senders=[edge.sender.split("@")[0]], receivers=edge.receiver.split("@")[0],
            through=edge.through, positions="END", receiver_positions="END", direction="noising",
        )  # fmt: skip
        assert edge.effect == pytest.approx(pooled(alone).item(), abs=1e-5)
    assert hooks_left(model) == 0 and model(task.clean.ids).equal(before)


def test_a_search_measures_positions_that_differ_from_prompt_to_prompt():
    model = bridge("Llama")
    task = task_of(model)
    steps = [Stage("movers"), Stage("told", to=["3.0", "3.1", "3.2", "3.3"], through="v", position="B")]
    circuit, effect = list(searching(model, task, steps, keep=12))[-1]
    receivers = [node.component for node in circuit.nodes if node.component.startswith("3.")]
    slow = path_patch(
        model, task, receivers=receivers, through="v", positions="B", receiver_positions="B", direction="noising"
    )
    np.testing.assert_allclose(effect, pooled(slow), atol=1e-6)


def test_edges_can_be_left_out_and_shares_kept():
    model = bridge("Llama")
    circuit = circuit_search(model, task_of(model), STAGES, keep=0.2, edges=False, name="mine")
    assert circuit.attrs["kept"] == 3 and {edge.receiver for edge in circuit.edges} == {"logits"}
    assert circuit.name == "mine" and set(circuit.attrs) >= {"model", "task", "prompts", "layers", "heads"}


def test_a_search_that_cannot_be_done_says_why():
    model = bridge("Llama")
    task = task_of(model)
    for keep in (0, 1.5, -1, 17, True):
        with pytest.raises(InputError, match="expected keep to be a share of the 16 heads"):
            circuit_search(model, task, keep=keep)
    with pytest.raises(InputError, match="expected one stage or more"):
        circuit_search(model, task, [])
    with pytest.raises(InputError, match="expected an earlier stage"):
        circuit_search(model, task, [Stage("movers"), Stage("other", to="nothing")])
    with pytest.raises(InputError, match="has no receivers"):
        circuit_search(model, task, [Stage("movers"), Stage("other", to=["0.0"])], keep=1)
    with pytest.raises(InputError, match="no position 'S2'"):
        circuit_search(model, task, [Stage("movers", position="S2")])


# Run alone


def by_hooks(model, task, kept: dict[int, list[tuple[int, str]]]):
    """Run a circuit alone with plain hooks: every head is the corrupted run's, but for those that are kept."""
    source = {}
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(4)]
    keep = [(name, lambda z, hook: source.update({hook.name: z.clone()})) for name in names]
    model.run_with_hooks(task.corrupted.ids, fwd_hooks=keep)

    def put(z, hook):
        layer = int(hook.name.split(".")[1])
        new = source[hook.name].clone()
        for head, position in kept[layer]:
            for prompt, place in enumerate(task.positions[position]):
                new[prompt, place, head] = z[prompt, place, head]
        return new

    with torch.no_grad():
        return task.metric(model.run_with_hooks(task.clean.ids, fwd_hooks=[(name, put) for name in names])[:, -1])


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "native"])
def test_a_circuit_alone_is_what_slow_hooks_say(family):
    model = bridge(family)
    task = task_of(model)
    circuit = Circuit([Node("0.1", "A"), Node("1.2", "B"), Node("1.0", "END"), Node("3.3", "END")])
    kept = defaultdict(list, {0: [(1, "A")], 1: [(2, "B"), (0, "END")], 3: [(3, "END")]})
    found = faithfulness(model, task, circuit, batch=2)
    np.testing.assert_allclose(found.circuit, by_hooks(model, task, kept), atol=1e-5)
    np.testing.assert_allclose(found.empty, by_hooks(model, task, defaultdict(list)), atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(found.whole, task.metric(model(task.clean.ids)[:, -1]), atol=1e-5)
    assert hooks_left(model) == 0


@pytest.mark.parametrize("instead", ["resample", "mean", "zero"])
def test_all_heads_together_are_the_model(instead):
    model = bridge("Llama with groups")
    heads = [Node(f"{layer}.{head}") for layer in range(4) for head in range(4)]
    found = faithfulness(model, task_of(model), Circuit(heads), instead=instead)
    np.testing.assert_allclose(found.circuit, found.whole, atol=1e-5)
    assert found.recovered.item() == pytest.approx(1, abs=1e-4) and not np.allclose(found.empty, found.whole, atol=1e-4)
    everything = Circuit([*heads, *(Node(f"mlp{layer}") for layer in range(4))])
    both = faithfulness(model, task_of(model), everything, instead=instead)
    np.testing.assert_allclose(both.circuit, both.whole, atol=1e-5)
    assert both.attrs["taken_out"] == "heads and MLPs"
    if instead != "resample":  # there both are the corrupted run
        assert not np.allclose(both.empty, found.empty, atol=1e-4)


def test_the_mean_is_that_of_all_prompts_in_whatever_batches():
    model = bridge("Llama")
    found = [faithfulness(model, task_of(model), Circuit([Node("1.0")]), instead="mean", batch=n) for n in (1, 3)]
    np.testing.assert_allclose(found[0].circuit, found[1].circuit, atol=1e-5)


def test_a_complete_circuit_suffers_as_the_model_does():
    model = bridge("Llama")
    task = task_of(model)
    heads = Circuit([Node(f"{layer}.{head}", role=f"layer {layer}") for layer in range(4) for head in range(4)])
    found = completeness(model, task, heads)
    assert found["set"].values.tolist() == ["", "layer 0", "layer 1", "layer 2", "layer 3"]
    np.testing.assert_allclose(found.circuit, found.whole, atol=1e-5)
    one = completeness(model, task, Circuit([Node("1.0"), Node("3.1")]), {"the first": "1.0"})
    rest = faithfulness(model, task, Circuit([Node("3.1")]))
    np.testing.assert_allclose(one.circuit.sel(set="the first"), rest.circuit, atol=1e-5)
    with pytest.raises(InputError, match="the circuit has no roles"):
        completeness(model, task, Circuit([Node("1.0")]))


def test_minimality_takes_nodes_out_alone_and_as_the_last_of_their_role():
    model = bridge("Llama")
    task = task_of(model)
    nodes = [Node("1.0", role="a"), Node("1.1", role="a"), Node("3.0", "END", role="b"), Node("logits")]
    found = minimality(model, task, Circuit(nodes))

    def only(*kept):
        return faithfulness(model, task, Circuit(kept)).circuit.values

    whole = only(*nodes)
    np.testing.assert_allclose(found.alone.sel(node="1.0"), whole - only(nodes[1], nodes[2]), atol=1e-5)
    np.testing.assert_allclose(found["last"].sel(node="1.0"), only(nodes[0], nodes[2]) - only(nodes[2]), atol=1e-5)
    np.testing.assert_allclose(found["last"].sel(node="3.0@END"), found.alone.sel(node="3.0@END"), atol=1e-6)


def test_a_circuit_that_the_model_has_not_is_refused():
    model = bridge("Llama")
    task = task_of(model)
    with pytest.raises(HookError, match=r"head 9\.0 does not exist"):
        faithfulness(model, task, Circuit([Node("9.0")]))
    with pytest.raises(HookError, match="mlp9 does not exist"):
        faithfulness(model, task, Circuit([Node("mlp9")]))
    with pytest.raises(InputError, match="no position 'S2'"):
        faithfulness(model, task, Circuit([Node("1.0", "S2")]))
    with pytest.raises(InputError, match="expected instead 'resample'"):
        faithfulness(model, task, Circuit([Node("1.0")]), instead="noise")
    assert hooks_left(model) == 0


# Compared


def found_in(stage: str, *heads: str) -> list[Node]:
    return [Node(head, "END", stage=stage) for head in heads]


def test_chance_is_what_can_be_computed():
    first = Circuit([*found_in("a", "1.0", "1.1", "2.0"), *found_in("b", "0.3")], attrs={"heads": 6})
    second = Circuit([*found_in("a", "1.0", "1.4", "2.1"), *found_in("b", "0.3")])
    found = overlap(first, second, draws=20_000)
    assert found.shared.values.tolist() == [1, 1, 2] and found.of_first.values.tolist() == [3, 1, 4]
    assert found.share.values == pytest.approx([1 / 3, 1, 0.5]) and found.jaccard.values == pytest.approx(
        [0.2, 1, 1 / 3]
    )
    expected = np.array([2 * 2 / 6 + 1 / 6, 1 / 6, 1])  # two of layer 1 among two of six, and so on
    expected[2] = expected[:2].sum()
    np.testing.assert_allclose(found.chance * [3, 1, 4], expected, atol=0.02)
    assert found.p.sel(stage="b").item() == pytest.approx(1 / 6, abs=0.01)


def test_a_circuit_shares_everything_with_itself():
    circuit = Circuit(found_in("a", "1.0", "2.3", "5.7"), attrs={"heads": 9})
    found = overlap(circuit, circuit, draws=500).sel(stage="all stages")
    assert found.share == found.jaccard == 1 and found.p < 0.02 and found.high < 1
    assert overlap(circuit, circuit, seed=1, draws=50).equals(overlap(circuit, circuit, seed=1, draws=50))


def test_circuits_that_cannot_be_compared_are_refused():
    one = Circuit(found_in("a", "1.0"))
    with pytest.raises(InputError, match="how many heads a layer has: pass heads="):
        overlap(one, one)
    with pytest.raises(InputError, match="stages in common"):
        overlap(one, Circuit(found_in("b", "1.0")), heads=4)
