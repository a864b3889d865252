"""The circuit explorer: the attention on show is that of the pinned head, on the prompt and from the place it names."""

from __future__ import annotations

import asyncio
import threading
from itertools import chain

import numpy as np
import pytest

from nbtools import explorers, measures, views
from nbtools.errors import ArrayError, HookError, InputError
from nbtools.tasks import ioi
from tests.conftest import hooks_left, tiny_bridge
from tests.unit.test_circuit_view import COLORED_EDGES, COLORED_NODES, IOI_EDGES, IOI_NODES, circuit_of

HEADS = ["23.0@END", "17.4@S2", "20.0@END", "12.4@S1+1"]

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def task(model):
    return ioi(model, prompts=6)


@pytest.fixture
def explorer(model, task):
    return explorers.circuit(model, task, circuit_of(name="IOI"))


def check(model, task, result, averaged: int = 6) -> None:
    """What a result holds is what the measures give for the head, prompt and position that it names."""
    layer, head = map(int, result.head.split("."))
    pattern = measures.attention(model, task[result.prompt].clean).sel(layer=[layer], head=[head])
    np.testing.assert_allclose(result.pattern, pattern, atol=1e-5)
    some = task[:averaged]
    paid = measures.attention_to_positions(model, some.clean, some.positions, query=result.query, layers=layer)
    expected = paid.sel(layer=layer, head=head, key=result.paid.key)
    expected = expected.mean("prompt") if "prompt" in expected.dims else expected
    np.testing.assert_allclose(result.paid, expected, atol=1e-5)


def test_the_head_with_the_strongest_edge_is_pinned_first(model, task, explorer):
    assert (explorer.node, explorer.view.node, explorer.result.head, explorer.map.head) == (
        "23.3@END",
        "23.3@END",
        "23.3",
        "23.3",
    )
    check(model, task, explorer.result)
    assert explorer.result.paid.sum() == pytest.approx(1, abs=1e-4)
    assert repr(explorer) == "CircuitExplorer(task='ioi', node='23.3@END', prompt=0)"
    assert (explorer.state, explorer.error, explorer.status.value) == ("23.3, looking from END", "", explorer.state)


def test_a_click_on_a_head_shows_where_it_looks_from_its_own_position(model, task, explorer):
    for node in HEADS:
        explorer.view.node = node  # as the page does
        head, query = node.split("@")
        assert (explorer.node, explorer.result.node, explorer.result.head, explorer.result.query) == (
            node,
            node,
            head,
            query,
        )
        assert explorer.map.query == task.positions[query][0]
        assert explorer.map.title == f"{head} on prompt 0"
        assert explorer.bars.title == f"{head} from {query}, mean of 6 prompts"
        assert explorer.bars._frame["tokens"] == explorer.result.paid.key.values.tolist()
        check(model, task, explorer.result)
    assert hooks_left(model) == 0


def test_another_prompt_can_be_picked_in_python_and_by_hand(model, task, explorer):
    explorer.node = "17.4@S2"
    for prompt, pick in (
        (3, lambda: setattr(explorer, "prompt", 3)),
        (5, lambda: setattr(explorer.picker, "value", 5)),
    ):
        pick()
        assert (explorer.prompt, explorer.picker.value, explorer.result.prompt) == (prompt, prompt, prompt)
        assert explorer.map.query == task.positions["S2"][prompt]
        check(model, task, explorer.result)
    with pytest.raises(InputError, match="prompt of the task from 0 to 5, got 6"):
        explorer.prompt = 6
    assert (explorer.prompt, explorer.result.prompt) == (5, 5)


def test_only_heads_have_attention_and_what_is_on_show_stays(explorer):
    before = explorer.result
    for node, sentence in (
        ("mlp29@END", "mlp29: only heads have attention"),
        ("logits", "logits: only heads"),
        ("", "click a head"),
    ):
        explorer.node = node
        assert explorer.status.value.startswith(sentence)
        assert explorer.status.value.endswith("below is still 23.3")
        assert (explorer.result, explorer.error) == (before, "")
    explorer.node = "23.0@END"
    assert explorer.result.head == "23.0"


def test_threshold_and_what_is_shown_go_both_ways(model, task):
    explorer = explorers.circuit(model, task, circuit_of(), circuit_of(COLORED_NODES, COLORED_EDGES), threshold=0.1)
    assert (explorer.threshold, explorer.view.threshold, explorer.shown) == (0.1, 0.1, "both")
    explorer.threshold, explorer.shown = 0.2, "shared"
    assert (explorer.view.threshold, explorer.view.shown) == (0.2, "shared")
    explorer.view.shown = "second"
    assert explorer.shown == "second"
    explorer.node = "21.0@END"  # which only the second has
    assert explorer.result.head == "21.0"
    with pytest.raises(InputError, match="one of both, first, second, shared"):
        explorer.shown = "neither"


def test_another_circuit_keeps_the_pin_if_it_holds(explorer):
    explorer.node = "23.0@END"
    explorer.show(circuit_of(COLORED_NODES, COLORED_EDGES))
    assert (explorer.node, explorer.result.head) == ("23.0@END", "23.0")
    explorer.show(circuit_of(IOI_NODES[-3:], IOI_EDGES[-2:]))
    assert (explorer.node, explorer.view.node) == ("", "")
    assert explorer.state.startswith("click a head")


def test_a_label_that_is_another_head_in_another_circuit_is_run_again(explorer):
    given = circuit_of()
    swapped = given.component.values.copy()
    at = [given.node.values.tolist().index(name) for name in ("23.3@END", "23.0@END")]
    swapped[at] = swapped[at[::-1]]
    explorer.show(given.assign(component=("node", swapped)))
    assert (explorer.node, explorer.result.head) == ("23.3@END", "23.0")


def test_what_does_not_fit_later_is_explained_and_loses_nothing(explorer):
    before = explorer.result
    nodes = [*IOI_NODES, ("40.0", "END", "", 0.0), ("3.1", "VERB", "", 0.0)]
    explorer.show(
        circuit_of([(name, place, role, effect) for name, place, role, effect in nodes if name != "logits"], [])
    )
    for node, sentence in (
        ("40.0@END", "head 40.0 does not exist"),
        ("3.1@VERB", "names no position 'VERB': expected any of IO"),
    ):
        explorer.node = node
        assert sentence in explorer.error
        assert explorer.status.value == f"⚠ {explorer.error}"
        assert explorer.result.pattern.equals(before.pattern)
    explorer.node = "20.0@END"
    assert (explorer.error, explorer.result.head) == ("", "20.0")
    with pytest.raises(InputError, match=r"'9\.9@END' is no node"):
        explorer.node = "9.9@END"
    assert explorer.node == "20.0@END"


def test_one_prompt_is_enough(model, task):
    explorer = explorers.circuit(model, task[:1], circuit_of())
    assert explorer.bars.title == "23.3 from END, mean of 1 prompt"
    check(model, task, explorer.result, averaged=1)


def test_positions_that_are_one_token_are_named_once(model, task):
    from dataclasses import replace

    doubled = replace(task, positions={**task.positions, "LAST": task.positions["END"]})
    explorer = explorers.circuit(model, doubled, circuit_of())
    assert "LAST" not in explorer.result.paid.key.values
    assert explorer.result.paid.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda model, task: explorers.circuit(model, task, circuit_of(), prompt=6), InputError, "from 0 to 5, got 6"),
        (lambda model, task: explorers.circuit(model, task, [1]), ArrayError, "as an xarray.Dataset"),
        (lambda model, task: explorers.circuit(model, task, circuit_of(), threshold=np.nan), InputError, "got nan"),
        (
            lambda model, task: explorers.circuit(model, task, circuit_of(IOI_NODES[-2:], IOI_EDGES[-1:])),
            InputError,
            "at least one head, .* draw this one with views.circuit",
        ),
        (lambda _, task: explorers.circuit(tiny_bridge(), task, circuit_of()), HookError, "head 23.3 does not exist"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(model, task, call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(model, task)
    assert hooks_left(model) == 0


def test_clicks_from_another_thread_are_answered_by_the_main_one_and_the_newest_wins(model, task):
    """The widget callbacks of a kernel come like this while a cell is running."""
    shown, threads = [], set()

    async def main() -> None:
        explorer = explorers.circuit(model, task, circuit_of())
        explorer.observe(lambda change: (shown.append(change["new"]), threads.add(threading.get_ident())), "result")
        clicks = threading.Thread(target=lambda: [setattr(explorer.view, "node", HEADS[n % 4]) for n in range(100)])
        clicks.start()
        reference = measures.attention(model, task[0].clean)
        for _ in range(3):  # the cell: its own results must not be disturbed
            np.testing.assert_array_equal(measures.attention(model, task[0].clean), reference)
        clicks.join()
        for _ in range(10):
            await asyncio.sleep(0)
        assert explorer.result.node == explorer.node == HEADS[99 % 4]

    asyncio.run(main())
    assert threads == {threading.get_ident()}
    for result in shown:
        check(model, task, result)
    assert hooks_left(model) == 0


def test_it_is_stored_as_text_picture_and_page_and_saved(explorer, tmp_path):
    data = explorer._repr_mimebundle_()
    assert data["text/plain"] == repr(explorer)
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/html"].count("<script>") == 1
    assert explorer.save(tmp_path / "view.html").stat().st_size > 1000
    kinds = (views.Circuit, views.Attention, views.Bars)
    assert all(isinstance(view, kind) for view, kind in zip(chain(*explorer.rows), kinds, strict=True))
    explorer.close()
