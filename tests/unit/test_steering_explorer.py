"""The steering explorer: what a direction does to the next token at once, and to the text as it is written."""

from __future__ import annotations

import asyncio
import importlib
import threading

import numpy as np
import pytest
import torch

from nbtools import explorers, measures, patching, runs
from nbtools.errors import ArrayError, HookError, InputError, PromptError
from tests.conftest import hooks_left, tiny_bridge
from tests.unit.test_patching_explorer import until, words

MODULE = importlib.import_module("nbtools.explorers.steering")
TEXT, OTHER = "The tower is in", "The castle one"
LENGTH = 4


@pytest.fixture(scope="module")
def talker():
    """A small random model with 3 layers that reads and writes words."""
    bridge = tiny_bridge()
    bridge.tokenizer, bridge.cfg.default_prepend_bos = words(), False
    return bridge


@pytest.fixture(scope="module")
def direction():
    return torch.linspace(-1, 1, 32).roll(7)


def explore(talker, direction, **options):
    return explorers.steering(talker, TEXT, direction, **{"layer": 1, "tokens": LENGTH, "limit": 5, **options})


@pytest.fixture
def explorer(talker, direction):
    return explore(talker, direction)


def written(talker, direction, text=TEXT, *, layer=1, coefficient=0.0, **options) -> str:
    edit = patching.steering(talker, direction, layer=layer, coefficient=coefficient, **options)
    return patching.generate(talker, text, length=LENGTH, edit=edit)


def test_coefficient_zero_is_the_model_as_it_is(talker, explorer):
    plain = patching.generate(talker, TEXT, length=LENGTH)
    assert explorer.result.plain == explorer.result.steered == plain
    assert explorer.plain.value == explorer.steered.value == plain
    np.testing.assert_array_equal(explorer.result.before, explorer.result.after)
    explorer.coefficient = 2.0
    explorer.coefficient = 0.0
    assert explorer.result.steered == explorer.result.plain == plain


def test_what_is_shown_is_what_steering_and_generate_give(talker, direction, explorer):
    for coefficient in (-3.0, 4.5):
        explorer.slider.value = coefficient
        assert explorer.coefficient == coefficient
        assert explorer.result.plain == written(talker, direction)
        assert explorer.result.steered == explorer.steered.value == written(talker, direction, coefficient=coefficient)
        assert explorer.result.steered != explorer.result.plain
        edit = patching.steering(talker, direction, layer=1, coefficient=coefficient)
        for change, shown in ((None, explorer.result.before), (edit, explorer.result.after)):
            fresh = measures.next_token(talker, TEXT, top=None, edit=change)
            np.testing.assert_allclose(shown, fresh[shown.token_id.values], atol=1e-6)
            assert set(fresh.token_id.values[np.argsort(-fresh.values)[:3]]) <= set(shown.token_id.values)
        assert explorer.bars._frame["names"] == ["as it is", f"steered by {coefficient:+g} in layer 1"]
    assert hooks_left(talker) == 0


def test_layer_site_and_positions_are_those_of_steering(talker, direction):
    explorer = explore(talker, direction, coefficient=3, site="mlp_out", positions=[0, 1])
    where = {"site": "mlp_out", "positions": [0, 1], "coefficient": 3}
    assert explorer.result.steered == written(talker, direction, **where)
    explorer.layers.value = 2
    assert (explorer.layer, explorer.result.layer) == (2, 2)
    assert explorer.result.steered == written(talker, direction, layer=2, **where)


def test_another_prompt_is_written_on_from(talker, direction, explorer):
    explorer.coefficient = 3
    explorer.prompt.value = OTHER
    assert explorer.result.text == explorer.text == OTHER
    assert explorer.result.plain == written(talker, direction, OTHER)
    assert explorer.result.steered == written(talker, direction, OTHER, coefficient=3)


def test_the_text_of_the_model_as_it_is_is_written_once(explorer, monkeypatch):
    edits, written = [], MODULE.written
    monkeypatch.setattr(
        MODULE, "written", lambda *given, edit=None, **more: edits.append(edit) or written(*given, edit=edit, **more)
    )
    explorer.coefficient = 1
    explorer.coefficient = 2
    assert all(edits)


def test_both_texts_grow_a_token_at_a_time_and_a_move_of_the_slider_begins_anew(talker, direction):
    seen = []

    async def main() -> None:
        explorer = explore(talker, direction, coefficient=3)
        assert (explorer.busy, explorer.result.plain, explorer.status.value) == (True, "", "writing …")
        explorer.observe(lambda change: seen.append(change["new"]), "result")
        await until(lambda: len(seen) == 2)
        explorer.coefficient = -3
        assert explorer.result.steered == ""
        await until(lambda: not explorer.busy)
        assert explorer.result.steered == written(talker, direction, coefficient=-3)
        assert explorer.result.plain == written(talker, direction)
        assert explorer.status.value == ""

    asyncio.run(main())
    assert [len(result.plain.split()) for result in seen] == [1, 2, 0, 1, 2, 3, 4]


def test_finish_makes_a_notebook_deterministic(talker, direction):
    async def main() -> None:
        explorer = explore(talker, direction, coefficient=3)
        result = explorer.finish()
        assert result is explorer.result
        assert (result.plain, result.steered) == (written(talker, direction), written(talker, direction, coefficient=3))
        explorer.text = ""
        with pytest.raises(InputError, match="empty"):
            explorer.finish()

    asyncio.run(main())


def test_finish_writes_what_an_interrupt_left(talker, direction, monkeypatch):
    def interrupted(*asked, **more):
        yield "half"
        raise KeyboardInterrupt

    explorer = explore(talker, direction)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MODULE, "written", interrupted)
        explorer.coefficient = 3
    assert (explorer.busy, explorer.result.steered) == (False, "half")
    assert explorer.finish().steered == written(talker, direction, coefficient=3)


def test_a_text_that_has_ended_stays_while_the_other_grows(talker, direction, monkeypatch):
    grow = {True: ["a"], False: ["b", "bc"]}
    monkeypatch.setattr(MODULE, "written", lambda *given, edit=None, **more: iter(grow[bool(edit)]))
    explorer = explore(talker, direction, coefficient=3)
    assert (explorer.result.plain, explorer.result.steered) == ("bc", "a")


@pytest.mark.parametrize("norm", [1.0, 0.01, 100.0])
def test_the_slider_goes_until_what_is_added_is_as_long_as_what_is_there(talker, direction, norm):
    scaled = norm * direction / direction.norm()
    explorer = explore(talker, scaled, limit=None)
    hook = "blocks.1.hook_resid_post"
    there = runs.forward(talker, TEXT, capture=[hook])[hook][0].norm(dim=-1).median().item() / norm
    assert there <= explorer.limit <= 2.5 * there
    assert f"{explorer.limit:.0e}"[0] in "125"
    assert (explorer.slider.min, explorer.slider.max) == (-explorer.limit, explorer.limit)


def test_bad_prompts_are_explained_and_the_last_good_result_stays(talker, explorer):
    good = explorer.result
    explorer.text = ""
    assert "the prompt is empty" in explorer.error
    assert "the prompt is empty" in explorer.status.value
    assert explorer.result is good
    assert hooks_left(talker) == 0
    explorer.text = OTHER
    assert explorer.error == ""


def test_what_does_not_fit_is_refused_and_changes_nothing(explorer):
    good = explorer.result
    for value in (5.5, -6, float("nan")):
        with pytest.raises(InputError, match="from -5 to 5"):
            explorer.coefficient = value
    with pytest.raises(HookError, match="expected 0 to 2"):
        explorer.layer = 3
    assert (explorer.coefficient, explorer.layer, explorer.result) == (0, 1, good)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"layer": 3}, HookError),
        ({"site": "resid"}, HookError),
        ({"coefficient": 6}, InputError),
        ({"limit": 0}, InputError),
        ({"tokens": 0}, InputError),
        ({"text": ""}, PromptError),
        ({"direction": torch.zeros(32), "limit": None}, InputError),
        ({"direction": torch.full((32,), float("nan"))}, ArrayError),
        ({"direction": torch.ones(5), "coefficient": 1}, ArrayError),
        ({"direction": torch.ones(5)}, ArrayError),
    ],
)
def test_a_wrong_beginning_raises(talker, direction, options, error):
    given = {"text": TEXT, "direction": direction, "layer": 1, "tokens": 2, "limit": 5, **options}
    with pytest.raises(error):
        explorers.steering(talker, **given)
    assert hooks_left(talker) == 0


def test_moves_from_another_thread_while_the_main_thread_runs_the_model(talker, direction):
    shown = []

    async def main() -> None:
        explorer = explore(talker, direction)
        explorer.observe(lambda change: shown.append(change["new"]), "result")
        moves = threading.Thread(target=lambda: [setattr(explorer, "coefficient", number % 5) for number in range(100)])
        reference = patching.generate(talker, OTHER, length=LENGTH)
        moves.start()
        for _ in range(20):
            assert patching.generate(talker, OTHER, length=LENGTH) == reference
        moves.join()
        await until(lambda: explorer.result.coefficient == explorer.coefficient == 4 and not explorer.busy)
        assert explorer.result.steered == written(talker, direction, coefficient=4)

    asyncio.run(main())
    for result in shown:
        assert written(talker, direction, coefficient=result.coefficient).startswith(result.steered)
    assert hooks_left(talker) == 0


def test_the_explorer_leaves_a_picture_and_a_plain_repr(explorer, tmp_path):
    explorer.coefficient = 2.5
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer) == f"SteeringExplorer(text={TEXT!r}, layer=1, coefficient=2.5)"
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert explorer.save(tmp_path / "explorer.html").stat().st_size > 5_000
