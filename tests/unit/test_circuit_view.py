"""Circuits: what is sent stands for what was given, the layout keeps layers and positions, bad input is explained."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import traitlets
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, InputError, OptionError
from nbtools.views.base import source
from nbtools.views.circuit.graph import read_graph
from nbtools.views.circuit.layout import lay_out
from nbtools.views.circuit.routes import curve
from nbtools.views.circuit.shapes import SHAPES
from nbtools.views.circuit.strokes import edge_strokes
from tests.unit.test_views import HOSTILE

NAN = float("nan")
Nodes = list[tuple[str, str, str, float]]
Edges = list[tuple[str, str, str, float]]

IOI_NODES: Nodes = [
    ("12.4", "S1+1", "previous token", NAN),
    ("17.4", "S2", "induction", 0.2),
    *((head, "END", "inhibition", effect) for head, effect in (("20.0", 0.3), ("19.2", 0.04), ("21.5", -0.02))),
    *((head, "END", "name mover", effect) for head, effect in (("23.0", 0.21), ("23.1", 0.11), ("23.7", 0.15))),
    *((head, "END", "name mover", effect) for head, effect in (("29.1", 0.24), ("23.3", 0.52))),
    *((head, "END", "negative mover", effect) for head, effect in (("24.4", -0.27), ("29.0", -0.2))),
    ("mlp29", "END", "", 0.1),
    ("logits", "", "", NAN),
]
IOI_EDGES: Edges = [
    ("12.4@S1+1", "17.4@S2", "k", 0.12),
    ("17.4@S2", "20.0@END", "v", 0.18),
    *((f"{head}@END", f"{mover}@END", "q", effect) for head, effect in (("20.0", 0.3), ("19.2", 0.04), ("21.5", -0.02))
      for mover in ("23.0", "23.1", "23.7")),
    *((f"{head}@{place}", "logits", "", effect) for head, place, _, effect in IOI_NODES[5:13]),
]  # fmt: skip
COLORED_NODES: Nodes = [
    ("12.4", "S1+1", "previous token", NAN),
    ("17.4", "S2", "induction", 0.1),
    ("20.0", "END", "inhibition", 0.05),
    ("21.0", "END", "content gatherer", 0.2),
    ("23.0", "END", "mover", 0.25),
    ("25.2", "END", "mover", 0.2),
    ("logits", "", "", NAN),
]
COLORED_EDGES: Edges = [
    ("12.4@S1+1", "17.4@S2", "k", 0.1),
    ("21.0@END", "23.0@END", "q", 0.25),
    ("21.0@END", "25.2@END", "q", -0.15),
    ("20.0@END", "23.0@END", "q", 0.35),
    ("23.0@END", "logits", "", 0.2),
    ("25.2@END", "logits", "", -0.22),
]


def circuit_of(nodes: Nodes = IOI_NODES, edges: Edges = IOI_EDGES, **attrs: object) -> xr.Dataset:
    """A circuit in a model of 30 layers, from (component, position, role, effect) and an edge's variables."""
    parts, ends = ([list(column) for column in zip(*rows, strict=True)] or [[]] * 4 for rows in (nodes, edges))
    words = [_words(component) for component in parts[0]]
    of_nodes = dict(zip(("component", "position", "role", "effect"), parts, strict=True))
    of_nodes |= {"kind": [kind for kind, _ in words], "layer": [layer for _, layer in words]}
    of_edges = dict(zip(("sender", "receiver", "through", "edge_effect"), ends, strict=True))
    labels = [f"{component}@{place}" if place else component for component, place, *_ in nodes]
    columns = {name: ("node", column(values)) for name, values in of_nodes.items()}
    columns |= {name: ("edge", column(values)) for name, values in of_edges.items()}
    return xr.Dataset(columns, coords={"node": column(labels)}, attrs=attrs)


def column(values: list) -> np.ndarray:
    return np.array(values, dtype=object if values and isinstance(values[0], str) else None)


def _words(component: str) -> tuple[str, int]:
    ends = {"logits": ("logits", 30), "embed": ("embed", -1)}
    mlp = component.startswith("mlp")
    return ends.get(component) or ("mlp" if mlp else "head", int(component[3:] if mlp else component.split(".")[0]))


def random_circuit(nodes: int, edges: int, seed: int = 0) -> xr.Dataset:
    """Heads and MLPs all over a model of 30 layers, with random edges upward."""
    rng, roles = (
        np.random.default_rng(seed),
        ["name mover", "inhibition", "induction", "duplicate token", "previous token", ""],
    )
    everything = [f"{layer}.{head}" for layer in range(30) for head in range(9)] + [
        f"mlp{layer}" for layer in range(30)
    ]
    places = ["S1", "S1+1", "S2", "END"]
    chosen = rng.choice(len(everything) * len(places), nodes - 1, replace=False)
    made = [
        (everything[at % len(everything)], places[at // len(everything)], str(rng.choice(roles)), float(rng.normal()))
        for at in sorted(chosen.tolist())
    ] + [("logits", "", "", NAN)]
    labels = [f"{component}@{place}" if place else component for component, place, *_ in made]
    order = [(30, 2) if one[0] == "logits" else (_words(one[0])[1], "mlp" in one[0]) for one in made]
    found: dict[tuple[str, str, str], float] = {}
    while len(found) < edges:
        one, other = rng.integers(nodes, size=2)
        if order[one] < order[other]:
            through = str(rng.choice(["q", "k", "v"])) if "." in made[other][0] else ""
            found[labels[one], labels[other], through] = float(rng.normal())
    return circuit_of(made, [(*ends, effect) for ends, effect in found.items()], positions=places)


@pytest.fixture
def view() -> views.Circuit:
    return views.circuit(circuit_of(name="IOI", metric="logit_difference", positions=["S1+1", "S2", "END"]))


@pytest.fixture
def two() -> views.Circuit:
    return views.circuit(circuit_of(name="IOI"), circuit_of(COLORED_NODES, COLORED_EDGES, task="colored objects"))


def sent(view: views.Circuit, name: str, kind: type = np.float32) -> np.ndarray:
    return np.frombuffer(view._frame[name], kind)


def at(view: views.Circuit, label: str) -> int:
    return view._frame["nodes"].index(label)


def place(view: views.Circuit, label: str) -> tuple[float, float]:
    return view._layout.x[at(view, label)], view._layout.y[at(view, label)]


def test_what_is_sent_stands_for_what_was_given(view):
    frame, given = view._frame, circuit_of()
    assert frame["nodes"] == given.node.values.tolist()
    assert (frame["texts"][0], frame["called"][0], frame["places"][0]) == ("12.4", "12.4 at S1+1", "S1+1")
    assert (frame["called"][-1], frame["places"][-1], frame["names"]) == ("logits", "", ["IOI"])
    ends = sent(view, "ends", np.uint16).reshape(-1, 3)
    assert [frame["nodes"][node] for node in ends[:, 0]] == given.sender.values.tolist()
    assert [frame["nodes"][node] for node in ends[:, 1]] == given.receiver.values.tolist()
    assert [["", "q", "k", "v"][code] for code in ends[:, 2]] == given.through.values.tolist()
    np.testing.assert_array_equal(sent(view, "edge_effects"), given.edge_effect.astype("float32"))
    np.testing.assert_array_equal(sent(view, "node_effects"), given.effect.astype("float32"))
    assert (frame["label"], frame["tally"]) == ("effect on logit difference", [])
    assert (frame["most"], frame["vmin"], frame["vmax"]) == (0.52, -0.52, 0.52)


def test_what_has_a_method_that_gives_a_dataset_is_taken():
    class Found:
        def to_dataset(self) -> xr.Dataset:
            return circuit_of()

    assert views.circuit(Found())._frame == views.circuit(circuit_of())._frame


def test_a_circuit_of_the_patching_room_is_taken_as_it_is():
    from nbtools.patching.circuit import Circuit, Edge, Node

    nodes = [Node(component, position, role, effect) for component, position, role, effect in IOI_NODES]
    made = Circuit(nodes, [Edge(*edge) for edge in IOI_EDGES], name="IOI")
    assert views.circuit(made)._frame == views.circuit(circuit_of(name="IOI"))._frame
    assert repr(views.circuit(Circuit([Node("23.0", "END")]))) == "Circuit(nodes=1, edges=0, threshold=0.0, node='')"


def test_rows_are_layers_in_order_and_columns_are_positions_with_END_last(view):
    frame = view._frame
    assert [label for label, _ in frame["rows"]] == ["12", "17", "19", "20", "21", "23", "24", "29", ""]
    heights = [height for _, height in frame["rows"]]
    assert heights == sorted(heights)
    assert [name for name, *_ in frame["columns"]] == ["S1+1", "S2", "END"]
    assert place(view, "23.0@END")[1] == place(view, "23.7@END")[1] < place(view, "24.4@END")[1]
    across = [place(view, f"{head}@END")[0] for head in ("23.0", "23.1", "23.3", "23.7")]
    assert np.diff(across) == pytest.approx([1, 1, 1])
    assert place(view, "logits") == pytest.approx((frame["columns"][-1][1], frame["tall"]))
    assert view._layout.x.min() > 0
    assert view._layout.x.max() < frame["wide"]


def test_an_mlp_stands_above_the_heads_of_its_layer_which_it_reads(view):
    assert place(view, "29.0@END")[1] < place(view, "mlp29@END")[1] < place(view, "logits")[1]
    edges = [*IOI_EDGES, ("29.1@END", "mlp29@END", "", 0.1)]
    assert repr(views.circuit(circuit_of(edges=edges))).startswith("Circuit(nodes=14, edges=20")


def test_positions_that_are_not_listed_come_as_they_appear():
    nodes: Nodes = [
        ("3.0", "END", "", 0),
        ("1.0", "B", "", 0),
        ("2.0", "A", "", 0),
        ("embed", "", "", 0),
        ("logits", "", "", 0),
    ]
    assert [name for name, *_ in views.circuit(circuit_of(nodes, []))._frame["columns"]] == ["", "B", "A", "END"]
    listed = views.circuit(circuit_of(nodes[:3], [], positions=np.array(["A", "C", "B"])))
    assert [name for name, *_ in listed._frame["columns"]] == ["A", "B", "END"]
    alone = views.circuit(circuit_of([("3.0", "", "", 0), ("logits", "", "", 0)], []))
    assert [name for name, *_ in alone._frame["columns"]] == [""]


def test_many_heads_of_one_layer_and_position_take_several_lines():
    nodes: Nodes = [(f"5.{head}", "END", "", 0) for head in range(19)]
    layout = lay_out(read_graph(circuit_of(nodes, [])))
    assert sorted(set(layout.y)) == pytest.approx([0, 0.8, 1.6])
    assert layout.wide == 8
    assert layout.rows == [("5", pytest.approx(0.8))]
    assert len(set(zip(layout.x, layout.y, strict=True))) == 19


def runs_into(layout, graph) -> list[tuple[str, str]]:
    """Edges that run into a node which is not their own, with that node."""
    found = []
    for (sender, receiver, _), path in zip(graph.ends, layout.paths, strict=True):
        for one, other in pairwise(path):
            heights = np.linspace(one[1], other[1], 40)
            way = curve(one, other, heights)
            for node in set(range(len(graph.nodes))) - {sender, receiver}:
                near = (np.abs(heights - layout.y[node]) < 0.05) & (np.abs(way - layout.x[node]) < 0.3)
                found += [(graph.labels[sender], graph.labels[node])] * int(near.any())
    return found


@pytest.mark.parametrize("given", [circuit_of(), random_circuit(60, 200)], ids=["ioi", "random"])
def test_edges_run_upward_and_around_the_nodes_in_between(given):
    graph = read_graph(given)
    layout = lay_out(graph)
    for path, (sender, receiver, _) in zip(layout.paths, graph.ends, strict=True):
        assert (np.diff([height for _, height in path]) > 0).all()
        assert path[0] == (layout.x[sender], layout.y[sender])
        assert path[-1] == (layout.x[receiver], layout.y[receiver])
    assert runs_into(layout, graph) == []


def test_the_same_circuit_is_always_laid_out_the_same():
    for size in ((60, 200), (500, 4000)):
        one, other = (lay_out(read_graph(random_circuit(*size))).frame() for _ in range(2))
        assert one == other


def test_edges_into_q_k_and_v_end_beside_each_other():
    nodes: Nodes = [("1.0", "END", "", 0), ("2.0", "END", "", 0), ("3.0", "END", "", 0), ("logits", "", "", 0)]
    edges: Edges = [("1.0@END", "3.0@END", port, 0.1) for port in "qkv"]
    edges += [("2.0@END", "3.0@END", "q", 0.1), ("1.0@END", "2.0@END", "v", 0.1), ("1.0@END", "logits", "", 0.1)]
    edges += [("3.0@END", "logits", "", 0.1)]
    offsets = lay_out(read_graph(circuit_of(nodes, edges))).offsets
    assert offsets[0] == offsets[3] < offsets[1] == 0 < offsets[2]
    assert offsets[4] == 0  # alone, in the middle
    assert offsets[5] != offsets[6]


def test_each_role_has_a_shape_of_its_own_and_mlps_and_ends_have_theirs(view):
    assert len({shape.points for shape in SHAPES}) == len(SHAPES) >= 12
    shapes = {name: SHAPES[code].name for name, code in zip(view._frame["nodes"], view._layout.shapes, strict=True)}
    assert (shapes["mlp29@END"], shapes["logits"], shapes["29.0@END"]) == ("flat box", "pill", "triangle down")
    assert shapes["23.0@END"] == shapes["29.1@END"] != shapes["20.0@END"]
    assert [role for _, role in view._frame["legend"]] == [
        "previous token", "induction", "inhibition", "name mover", "negative mover", "MLP",
    ]  # fmt: skip
    many: Nodes = [(f"{layer}.0", "END", f"role {layer}", 0) for layer in range(14)]
    legend = views.circuit(circuit_of(many, []))._frame["legend"]
    assert len({code for code, _ in legend}) == 11
    plain = views.circuit(circuit_of([("1.0", "END", "", 0), ("2.0", "END", "mover", 0)], []))
    assert [role for _, role in plain._frame["legend"]] == ["mover", "head without a role"]


def test_two_circuits_are_laid_over_each_other_by_component_and_position(two):
    frame = two._frame
    assert len(frame["nodes"]) == 16
    side = dict(zip(frame["nodes"], sent(two, "node_side", np.uint8).tolist(), strict=True))
    assert (side["23.0@END"], side["29.1@END"], side["21.0@END"], side["logits"]) == (0, 1, 2, 0)
    assert (frame["names"], frame["tally"]) == (["IOI", "colored objects"], [4, 9, 2])
    edge_side = sent(two, "edge_side", np.uint8)
    assert [int((edge_side == code).sum()) for code in range(3)] == [3, 16, 3]
    effects = sent(two, "edge_effects").reshape(2, -1)
    np.testing.assert_array_equal(np.isfinite(effects), [edge_side != 2, edge_side != 1])
    assert frame["roles"][at(two, "23.0@END")] == "name mover (IOI), mover (colored objects)"
    assert frame["roles"][at(two, "20.0@END")] == "inhibition"


def test_a_role_that_only_the_second_circuit_knows_gives_the_shape():
    given = circuit_of([("1.0", "END", "", 0)], []), circuit_of([("1.0", "END", "mover", 0)], [])
    view = views.circuit(*given)
    assert view._frame["roles"] == ["mover"]
    assert view._frame["legend"] == [[0, "mover"]]


def test_names_are_those_given_else_those_of_the_circuits_else_plain():
    def named(one: str, other: str, **options: object) -> list[str]:
        return views.circuit(circuit_of(name=one), circuit_of(task=other), **options)._frame["names"]

    assert named("a", "b") == ["a", "b"]
    assert named("", "b") == ["first", "b"]
    assert named("a", "a") == ["a (first)", "a (second)"]
    assert named("a", "b", names=("x", "y")) == ["x", "y"]
    for names, got in ((["x"], "got 1"), ("xy", "got one text")):
        with pytest.raises(InputError, match=f"expected 2 names, one for each circuit, {got}"):
            named("a", "b", names=names)


def test_where_both_have_an_edge_the_larger_effect_counts(two):
    graph = two._graph
    edge = [tuple(ends) for ends in graph.ends.tolist()].index((at(two, "20.0@END"), at(two, "23.0@END"), 1))
    assert [graph.strengths(shown)[edge] for shown in ("both", "first", "second", "shared")] == [0.35, 0.3, 0.35, 0.35]
    assert graph.kept(0.32, "both")[edge]
    assert not graph.kept(0.32, "first")[edge]
    assert [int(graph.kept(0.0, shown).sum()) for shown in ("both", "first", "second", "shared")] == [22, 19, 6, 3]


def test_the_threshold_can_be_set_and_stays_within_the_effects(view):
    for threshold, kept in ((0.25, 0.25), (7, 0.52), (-1, 0.0), (float("inf"), 0.52)):
        view.threshold = threshold
        assert view.threshold == pytest.approx(kept)
    assert views.circuit(circuit_of(), threshold=9).threshold == 0.52
    assert view._graph.kept(0.52, "both").sum() == 1  # the widest edge is never hidden
    with pytest.raises(InputError, match=r"expected a threshold, such as 0.05, .* got nan"):
        view.threshold = NAN


def test_the_pin_is_the_label_of_a_node(view):
    view.node = "23.0@END"
    assert repr(view) == "Circuit(nodes=14, edges=19, threshold=0.0, node='23.0@END')"
    with pytest.raises(
        InputError, match=r"'23\.5@END' is no node of this circuit: expected one of '12\.4@S1\+1', .*, …"
    ):
        view.node = "23.5@END"
    assert view.node == "23.0@END"
    view.node = ""
    found = view.find("29.0@END")
    assert (found.component, found.kind, found.layer, found.position, found.role) == (
        "29.0", "head", 29, "END", "negative mover",
    )  # fmt: skip
    with pytest.raises(InputError, match="shows nothing before show"):
        views.Circuit().find("23.0@END")


def test_the_strongest_node_is_that_of_the_widest_edge(view):
    assert view.strongest().label == "23.3@END"
    assert view.strongest("mlp").label == "mlp29@END"
    assert view.strongest("embed") is None
    assert views.Circuit().strongest() is None


def test_what_is_shown_of_two_circuits_can_be_chosen(two, view):
    for shown in ("first", "second", "shared", "both"):
        two.shown = shown
    two.shown = "second"
    assert repr(two) == (
        "Circuit(nodes=16, edges=22, names=['IOI', 'colored objects'], shown='second', threshold=0.0, node='')"
    )
    with pytest.raises(InputError, match="one of both, first, second, shared, got 'third'"):
        two.shown = "third"
    with pytest.raises(InputError, match="shows one circuit, of which 'shared' cannot be chosen: give a second"):
        view.shown = "shared"


def test_another_circuit_keeps_threshold_and_pin_where_they_hold(two):
    two.node, two.threshold, two.shown = "23.0@END", 0.3, "shared"
    two.show(circuit_of(COLORED_NODES, COLORED_EDGES))
    assert (two.node, two.threshold, two.shown) == ("23.0@END", 0.3, "both")
    two.show(circuit_of([("1.0", "END", "", 0), ("logits", "", "", 0)], [("1.0@END", "logits", "", 0.1)]))
    assert (two.node, two.threshold) == ("", 0.1)
    two.show(circuit_of([("1.0", "END", "", 0)], []))
    assert (two.threshold, two._frame["most"]) == (0.1, 1.0)


def test_bad_input_leaves_the_view_as_it_was(view):
    view.node, view.threshold = "20.0@END", 0.1
    before = dict(view._frame)
    for call in (
        lambda: view.show(circuit_of(edges=[("20.0@END", "9.9@END", "q", 0.1)])),
        lambda: view.show(circuit_of(), circuit_of(), names=["one"]),
        lambda: setattr(view, "node", "no"),
        lambda: setattr(view, "shown", "first"),
        lambda: setattr(view, "threshold", NAN),
        lambda: view.rescale(2, 1),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(traitlets.TraitError):
        view.threshold = "wide"
    assert (view._frame, view.node, view.threshold, view.shown) == (before, "20.0@END", 0.1, "both")


def test_linked_views_pin_the_same_node_if_both_have_it(view):
    other = views.circuit(circuit_of(COLORED_NODES, COLORED_EDGES))
    views.link(view, other)
    view.node = "23.0@END"
    assert other.node == "23.0@END"
    view.node = "29.1@END"
    assert other.node == "23.0@END"
    other.node = ""
    assert view.node == ""


def test_two_views_compared_draw_effects_in_one_width(view):
    other = views.circuit(circuit_of(COLORED_NODES, COLORED_EDGES))
    pair = views.compare(view, other, titles=["IOI", "colored objects"])
    assert view._frame["most"] == other._frame["most"] == 0.52
    other.threshold = 0.5
    assert pair._repr_mimebundle_()["image/png"]
    view.rescale()
    assert view._frame["most"] == 0.52


def edited(**columns: object) -> xr.Dataset:
    """A circuit in which the first node or edge has another value."""
    given = circuit_of()
    for name, value in columns.items():
        values = given[name].values.astype(object)
        values[0] = value
        given = given.assign_coords(node=values) if name == "node" else given.assign({name: (given[name].dims, values)})
    return given


def doubled(**ends: str) -> xr.Dataset:
    return circuit_of(edges=[*IOI_EDGES, (ends["sender"], ends["receiver"], ends["through"], 0.1)])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([1, 2], r"the circuit as an xarray.Dataset .* or as an object with to_dataset\(\), got list"),
        (circuit_of().drop_vars("node"), r"the variable node \(node\), one value for each node, got none"),
        (circuit_of().drop_vars("kind"), r"the variable kind \(node\).* got none: component, kind, layer, position"),
        (circuit_of().drop_vars("edge_effect"), r"variable edge_effect \(edge\), one value for each edge, got none"),
        (circuit_of().drop_vars("role").assign(role=("edge", ["x"] * 19)), r"role \(node\).* got one with \(edge\)"),
        (circuit_of(IOI_NODES[:0], []), r"one node or more, got none"),
        (edited(node="17.4@S2", sender="17.4@S2", receiver="20.0@END"), r"once, 17\.4@S2 is there 2 times"),
        (edited(component="17.4", position="S2"), r"each component and position .* once, 17\.4 S2 is there 2"),
        (edited(kind="neuron"), r"one of embed, head, mlp, logits, got 'neuron' for 12\.4@S1\+1"),
        (edited(layer=1.5), r"layer of each node of the circuit as a whole number, got 1\.5 for 12\.4@S1\+1"),
        (edited(effect=np.inf), r"effect of each node of the circuit as a finite number, or NaN, got inf for 12\.4"),
        (edited(effect="much"), r"expected effect of the circuit as numbers, got 'much'"),
        (edited(sender="9.9@END"), r"9\.9@END to 17\.4@S2 .* no node, '9\.9@END': expected any of 12\.4"),
        (edited(through="z"), r"from 12\.4@S1\+1 to 17\.4@S2 of the circuit to go through q, k or v, .* got 'z'"),
        (edited(edge_effect=NAN), r"the edge from 12\.4@S1\+1 to 17\.4@S2 .* got nan: measure it"),
        (edited(sender="17.4@S2", receiver="12.4@S1+1"), r"from 17\.4@S2 to 12\.4@S1\+1 of the circuit leads backward"),
        (doubled(sender="12.4@S1+1", receiver="17.4@S2", through="k"), r"each edge .* once, 12\.4@S1\+1 17\.4"),
        (circuit_of([(f"{n}.0", "END", "", 0) for n in range(501)], []), r"most 500 nodes, .* has 501: .*above\(x\)"),
        (random_circuit(200, 4001), r"at most 4000 edges, the circuit has 4001: .*circuit\.above\(x\)"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(given, sentence):
    with pytest.raises(ArrayError, match=sentence):
        views.circuit(given)


def test_what_is_wrong_with_a_second_circuit_says_so():
    with pytest.raises(ArrayError, match="expected the second with the variable kind"):
        views.circuit(circuit_of(), circuit_of().drop_vars("kind"))
    with pytest.raises(
        ArrayError, match=r"'12\.4@S1\+1' is 12\.4 at S1\+1 in one circuit and 12\.5 at S1\+1 in the other"
    ):
        views.circuit(circuit_of(), edited(component="12.5"))
    many = [circuit_of([(f"{n}.{head}", "END", "", 0) for n in range(300)], []) for head in range(2)]
    with pytest.raises(ArrayError, match="at most 500 nodes, the two circuits have 600 together"):
        views.circuit(*many)
    with pytest.raises(OptionError, match=r"circuit has no option 'treshold': .* did you mean 'threshold'"):
        views.circuit(circuit_of(), treshold=1)


def test_every_output_is_there_is_small_and_depends_on_the_data_alone():
    def made() -> views.Circuit:
        return views.circuit(circuit_of(), circuit_of(COLORED_NODES, COLORED_EDGES), names=["IOI", "CO"], title="two")

    one, other = (view._repr_mimebundle_()[0] for view in (made(), made()))
    assert one["text/plain"].startswith("Circuit(nodes=16, edges=22, names=['IOI', 'CO']")
    assert (one["image/png"], one["text/html"]) == (other["image/png"], other["text/html"])
    assert len(one["image/png"]) < 80_000
    assert len(one["text/html"]) < 200_000


@pytest.mark.parametrize(("trait", "value"), [("node", "23.0@END"), ("threshold", 0.3), ("shown", "shared")])
def test_the_still_picture_follows_what_is_on_show(two, trait, value):
    before = two._repr_mimebundle_()[0]["image/png"]
    setattr(two, trait, value)
    assert two._repr_mimebundle_()[0]["image/png"] != before


def test_the_still_picture_says_what_the_page_says(two):
    texts = [text.get_text() for axes in two.figure().axes for text in axes.texts]
    for text in ("23.0", "mlp29", "logits", "S1+1", "S2", "END", "29", "q", "k", "v", "layer", "negative mover", "MLP"):
        assert text in texts
    for text in ("shared 4", "only IOI 9", "only colored objects 2", "negative", "effect 0.52"):
        assert text in texts
    two.shown = "second"
    texts = [text.get_text() for axes in two.figure().axes for text in axes.texts]
    assert "29.1" not in texts
    assert "on show: colored objects" in texts


def test_no_two_kinds_of_edges_look_alike_without_their_colour():
    def bare(stroke: dict) -> dict:
        return {**stroke, "edgecolor": "white" if stroke["edgecolor"] == "white" else "ink"}

    looks = {str([bare(stroke) for stroke in edge_strokes(size, side)]) for size in (0.5, -0.5) for side in range(3)}
    assert len(looks) == 6


def test_hostile_names_are_drawn_not_interpreted():
    nodes: Nodes = [(f"1.{at}", name, name, 0.1) for at, name in enumerate([*HOSTILE[:3], "$a_b$"])]
    given = circuit_of([*nodes, ("logits", "", "", 0)], [(f"1.0@{HOSTILE[0]}", "logits", "", 0.1)], name=HOSTILE[1])
    data, _ = views.circuit(given, given, title=HOSTILE[2])._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/html"].count("<script>") == 1
    assert HOSTILE[1] not in data["text/html"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(view, tmp_path, suffix):
    assert view.save(tmp_path / f"view{suffix}").stat().st_size > 1000


def test_a_view_that_shows_nothing_yet_has_a_plain_repr():
    assert repr(views.Circuit()) == "Circuit(nodes=0, edges=0, threshold=0.0, node='')"


def test_its_module_is_small():
    assert len(source("circuit").encode()) < 30_000
