"""The patching explorer: an estimate at once, exact cells behind it, and a loop that goes on answering."""

from __future__ import annotations

import asyncio
import importlib
import random
import threading

import numpy as np
import pytest
import xarray as xr
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from nbtools import explorers, patching
from nbtools.errors import HookError, InputError, PromptError, SweepError
from nbtools.explorers._background import Background, Ending
from tests.conftest import VOCABULARY, hooks_left, tiny_bridge

MODULE = importlib.import_module("nbtools.explorers.patching")
RUNS = importlib.import_module("nbtools.explorers._patch_runs")
CLEAN, CORRUPTED, THIRD = "The tower one two is in", "The bridge one two is in", "The castle one two is in"
WORDS = (
    "<end>",
    "The",
    " tower",
    " bridge",
    " castle",
    " is",
    " in",
    " Paris",
    " Rome",
    " London",
    "Paris",
    " one",
    " two",
)
CELLS = 18


def words() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, with the space in front of them."""
    known = [*WORDS, *(f" word{number}" for number in range(len(WORDS), VOCABULARY))]
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(known)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" ?[^ ]+"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


@pytest.fixture(scope="module")
def talker():
    """A small random model with 3 layers and 4 heads that reads and writes words."""
    bridge = tiny_bridge()
    bridge.tokenizer, bridge.cfg.default_prepend_bos = words(), False
    return bridge


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(RUNS, "_PIECE", 6)


def explore(model, clean=CLEAN, corrupted=CORRUPTED, **options):
    return explorers.patching(model, clean, corrupted, **{"answer": " Paris", "wrong": " Rome", **options})


@pytest.fixture
def explorer(talker):
    return explore(talker)


def until(happened, *, turns: int = 1_000_000):
    """Let the loop turn until something has happened."""

    async def wait() -> None:
        for _ in range(turns):
            if happened():
                return
            await asyncio.sleep(0)
        raise AssertionError("it did not happen")

    return wait()


# work in the background


def collect(background: Background, pieces) -> tuple[list, list]:
    shown, endings = [], []
    background.start(pieces, show=shown.append, end=endings.append)
    return shown, endings


def test_without_a_loop_all_is_done_before_start_returns():
    background = Background()
    assert collect(background, range(3)) == ([0, 1, 2], [Ending(whole=True)])
    assert not background.busy


def test_on_a_loop_start_returns_before_the_first_piece():
    async def main() -> None:
        background = Background()
        shown, endings = collect(background, range(3))
        assert (shown, background.busy) == ([], True)
        await until(lambda: endings)
        assert (shown, endings, background.busy) == ([0, 1, 2], [Ending(whole=True)], False)

    asyncio.run(main())


def test_a_message_that_needs_many_turns_arrives_between_two_pieces():
    """As in a kernel: from the socket to the callback it is handed on several times."""
    heard = []

    def hand_on(turns: int, at: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(hand_on, turns - 1, at)
        else:
            heard.append((at, len(shown)))

    def pieces():
        for piece in range(4):
            hand_on(20, piece)
            yield piece

    async def main() -> None:
        nonlocal shown
        background = Background()
        shown, endings = collect(background, pieces())
        await until(lambda: endings)

    shown: list[int] = []
    asyncio.run(main())
    assert heard == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_stopping_abandons_what_is_left_and_says_so_once():
    async def main() -> None:
        background = Background()
        shown, endings = collect(background, range(100))
        await until(lambda: len(shown) == 2)
        background.stop()
        background.stop()
        assert (endings, background.busy) == ([Ending()], False)
        await until(lambda: True)
        assert shown == [0, 1]

    asyncio.run(main())


def test_stopping_from_another_thread_ends_the_work_on_the_owners():
    ended = []

    async def main() -> None:
        background = Background()
        background.start(iter(int, 1), show=lambda piece: None, end=lambda ending: ended.append(threading.get_ident()))
        thread = threading.Thread(target=background.stop)
        thread.start()
        thread.join()
        assert background.busy
        await until(lambda: ended)
        assert not background.busy

    asyncio.run(main())
    assert ended == [threading.get_ident()]


def test_other_work_abandons_what_is_running():
    async def main() -> None:
        background = Background()
        _, first = collect(background, iter(int, 1))
        shown, second = collect(background, "ab")
        assert first == [Ending()]
        await until(lambda: second)
        assert shown == ["a", "b"]

    asyncio.run(main())


def test_finish_runs_what_is_left_at_once():
    async def main() -> None:
        background = Background()
        shown, endings = collect(background, range(5))
        await until(lambda: len(shown) == 1)
        background.finish()
        assert (shown, endings) == ([0, 1, 2, 3, 4], [Ending(whole=True)])

    asyncio.run(main())


@pytest.mark.parametrize("at", ["a piece", "what shows it"])
def test_what_is_raised_ends_the_work_and_leaves_the_loop_alone(at):
    def pieces():
        yield 1
        yield 1 if at == "what shows it" else 1 / 0

    def show(piece: int) -> None:
        shown.append(piece)
        if len(shown) == 2:
            raise ZeroDivisionError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        background = Background()
        background.start(pieces(), show=show, end=endings.append)
        await until(lambda: endings)
        assert not background.busy

    shown, endings, problems = [], [], []
    asyncio.run(main())
    assert problems == []
    assert isinstance(endings[0].error, ZeroDivisionError)


def test_an_interrupt_passes_through_and_leaves_nothing_running():
    def pieces():
        yield 1
        raise KeyboardInterrupt

    background, endings = Background(), []
    with pytest.raises(KeyboardInterrupt):
        background.start(pieces(), show=lambda piece: None, end=endings.append)
    assert (endings, background.busy) == ([Ending()], False)


def test_what_shows_a_piece_may_start_other_work():
    background, shown = Background(), []

    def show(piece: str) -> None:
        shown.append(piece)
        if piece == "b":
            background.start("xy", show=shown.append, end=lambda ending: None)

    background.start("abc", show=show, end=lambda ending: None)
    assert shown == ["a", "b", "x", "y"]


# the explorer


def same(effect: xr.DataArray, exact: xr.DataArray) -> None:
    np.testing.assert_allclose(effect, exact, atol=1e-4)
    assert effect.attrs == exact.attrs


def exact(talker, result, **options) -> xr.DataArray:
    return patching.patch(talker, result.task, result.site, direction=result.direction, **options)


def test_without_a_loop_every_cell_is_exact_when_the_call_returns(talker, explorer):
    result = explorer.result
    same(result.effect, exact(talker, result))
    xr.testing.assert_allclose(result.estimate, patching.attribute(talker, result.task, "resid_pre"))
    assert explorer.finish() is result.effect
    assert (explorer.busy, explorer.progress, explorer.total) == (False, CELLS, CELLS)
    assert explorer.state == explorer.status.value == "all 18 cells are exact"
    assert explorer.controls.cancel.disabled
    assert hooks_left(talker) == 0


@pytest.mark.parametrize("site", [site for site in RUNS.SHOWN_SITES if site != "resid_pre"])
def test_each_site_shows_what_patch_gives(talker, explorer, site):
    explorer.direction, explorer.site = "noising", site
    assert explorer.error == ""
    same(explorer.result.effect, exact(talker, explorer.result))
    assert (explorer.result.site, explorer.result.direction) == (site, "noising")
    assert explorer.grid._frame["site"] == site


def test_the_estimate_is_on_show_before_any_exact_cell_and_exact_cells_come_piece_by_piece(talker, small_pieces):
    seen = []

    async def main() -> None:
        explorer = explore(talker, site="attn_out")
        assert (explorer.busy, explorer.progress, explorer.state) == (True, 0, "0 of 18 cells are exact")
        assert np.isnan(explorer.result.effect).all()
        assert np.isfinite(np.frombuffer(explorer.grid._frame["estimate"], np.float32)).all()
        assert not explorer.controls.cancel.disabled
        explorer.observe(lambda change: seen.append((explorer.progress, change["new"].effect)), "result")
        await until(lambda: not explorer.busy)
        same(explorer.result.effect, exact(talker, explorer.result))

    asyncio.run(main())
    assert len(seen) > 2
    for progress, effect in seen:
        assert int(np.isfinite(effect).sum()) == progress


def test_finish_makes_a_notebook_deterministic(talker):
    async def main() -> None:
        explorer = explore(talker)
        same(explorer.finish(), exact(talker, explorer.result))
        assert not explorer.busy

    asyncio.run(main())


def test_cancel_keeps_what_is_done_and_finish_runs_the_rest(talker, small_pieces):
    async def main() -> None:
        explorer = explore(talker, site="attn_out")
        await until(lambda: explorer.progress)
        explorer.controls.cancel.click()
        done = explorer.progress
        assert explorer.state == explorer.status.value == f"stopped at {done} of 18"
        assert int(np.isfinite(explorer.result.effect).sum()) == done < 18
        assert [run.effect is explorer.result.effect for run in explorer.runs] == [True]
        same(explorer.finish(), exact(talker, explorer.result))
        assert [run.effect is explorer.result.effect for run in explorer.runs] == [True]

    asyncio.run(main())


def test_a_new_request_abandons_the_sweep_and_a_bad_one_does_not(talker, small_pieces):
    async def main() -> None:
        explorer = explore(talker, site="attn_out")
        await until(lambda: explorer.progress)
        explorer.clean = "The tower is in"
        assert "expected the same number of tokens" in explorer.error
        assert explorer.busy
        explorer.clean = THIRD
        assert (explorer.error, explorer.progress, explorer.result.clean) == ("", 0, THIRD)
        assert [run.clean for run in explorer.runs] == [CLEAN]
        same(explorer.finish(), exact(talker, explorer.result))

    asyncio.run(main())


def test_a_request_made_by_an_observer_is_served_without_a_loop_too(talker, explorer):
    asked = []

    def ask(change) -> None:
        if not asked:
            asked.append(explorer.direction)
            explorer.direction = "noising"

    explorer.observe(ask, "progress")
    explorer.site = "attn_out"
    assert (explorer.result.site, explorer.result.direction) == ("attn_out", "noising")
    same(explorer.result.effect, exact(talker, explorer.result))


@pytest.mark.model
def test_the_models_own_tokens_are_the_answers_and_are_shown(model):
    async def main() -> None:
        explorer = explorers.patching(model, "The Eiffel Tower is in", "The Colosseum is in")
        task = explorer.result.task
        assert [task.texts[int(token)] for token in (task.answer, task.wrong)] == [" Paris", " Rome"]
        assert (explorer.controls.answer.placeholder, explorer.controls.wrong.placeholder) == ("·Paris", "·Rome")
        assert (explorer.answer, explorer.wrong) == ("", "")
        effect = explorer.finish()
        same(effect, exact(model, explorer.result))

    asyncio.run(main())


def test_answers_can_be_typed_as_they_are_shown(explorer):
    explorer.wrong = "·London"
    assert explorer.result.task.wrong.tolist() == [WORDS.index(" London")]
    explorer.controls.wrong.value = " is"
    assert explorer.wrong == " is"
    assert explorer.controls.wrong.placeholder == "·is"
    assert explorer.result.task.wrong.tolist() == [WORDS.index(" is")]


def test_each_metric_is_what_it_says(talker, explorer):
    own = explorer.result.task
    metrics = {
        "probability": lambda logits: logits.softmax(-1)[:, own.answer[0]],
        "log probability": lambda logits: logits.log_softmax(-1)[:, own.answer[0]],
    }
    for name, metric in metrics.items():
        explorer.metric = name
        assert explorer.error == ""
        np.testing.assert_allclose(explorer.result.effect, exact(talker, explorer.result, metric=metric), atol=1e-4)
        assert (explorer.result.metric, explorer.result.effect.metric) == (name, name)
        assert explorer.controls.metric.value == name


def test_a_metric_of_ones_own_stays_in_the_menu_and_needs_no_gradient(talker, explorer):
    def rank(logits):
        """A number without a gradient."""
        return (logits > logits[:, [40]]).sum(-1).double()

    explorer.metric = rank
    assert (explorer.error, explorer.result.estimate, explorer.result.metric) == ("", None, "rank")
    np.testing.assert_allclose(explorer.result.effect, exact(talker, explorer.result, metric=rank), atol=1e-4)
    assert explorer.controls.metric.label == "rank (yours)"
    explorer.controls.metric.value = "probability"
    assert explorer.metric == "probability"
    explorer.controls.metric.value = rank
    assert explorer.metric is rank


def test_a_click_shows_the_answers_of_a_real_run_with_that_patch(talker, explorer):
    cells = {"resid_pre": (1, 4), "attn_out": (2, 3), "resid_mid": (1, 5), "z": (1, 3), "k": (0, 1), "pattern": (2, 2)}
    for site, (layer, column) in cells.items():
        explorer.site = site
        explorer.grid.select(layer, column)
        assert (explorer.layer, explorer.column) == (layer, column)
        run = RUNS.patched(talker, explorer.result.task, site, "denoising", layer, column)
        base, source = (explorer.result.effect.coords[name].item() for name in ("base", "source"))
        answer, wrong = (getattr(explorer.result.task, name)[0] for name in ("answer", "wrong"))
        value = (run[answer].log() - run[wrong].log()).item()
        assert (value - base) / (source - base) == pytest.approx(explorer.result.effect.values[layer, column], abs=1e-4)
        np.testing.assert_allclose(explorer.after, run[explorer.after.token_id.values], atol=1e-6)
        assert explorer.answers.into._frame["names"] == ["corrupted run", "patched"]
        assert explorer.answers.into._frame["tokens"] == explorer.answers.source._frame["tokens"]
    explorer.select()
    assert explorer.after is None
    assert explorer.answers.into._frame["names"] == ["corrupted run"]
    assert hooks_left(talker) == 0


def test_pins_follow_each_other_and_one_that_is_not_there_is_refused(explorer):
    explorer.layer, explorer.column = 1, 3
    assert (explorer.grid.layer, explorer.grid.column) == (1, 3)
    assert explorer.answers.into.title == "patched at layer 1, position 3 ·two"
    first = explorer.after
    explorer.clean = THIRD
    assert (explorer.layer, explorer.column) == (1, 3)
    assert not first.identical(explorer.after)
    with pytest.raises(HookError, match="0 to 2"):
        explorer.layer = 3
    with pytest.raises(InputError, match="0 to 5"):
        explorer.column = 6
    assert (explorer.layer, explorer.column) == (1, 3)
    explorer.site = "z"
    assert (explorer.layer, explorer.column, explorer.after) == (1, None, None)


def test_a_pin_set_by_one_click_is_one_run_of_the_model(explorer, monkeypatch):
    pins = []
    monkeypatch.setattr(
        MODULE, "patched", lambda talker, task, site, direction, *pin: pins.append(pin) or explorer._prepared.base
    )
    explorer.grid.select(1, 3)
    explorer.grid.select(2, 1)
    explorer.grid.select(2, 1)
    assert pins == [(1, 3), (2, 1)]


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("clean", "", "the prompt is empty"),
        ("clean", CORRUPTED, "same clean and corrupted"),
        ("clean", "The tower is in", "expected the same number of tokens"),
        ("answer", "Paris", "has no space before it"),
        ("answer", " Paris one", "to be one token"),
        ("wrong", " Paris", "expected two different ones"),
        ("metric", lambda logits: 1 / 0, "ZeroDivisionError"),
        ("metric", lambda logits: logits, "one number for each run"),
        ("metric", lambda logits: logits[:, 0] * 0, "no gap to close"),
        ("metric", lambda logits: logits[:, 0] * float("nan"), "no gap to close"),
    ],
)
def test_what_is_wrong_is_explained_and_the_last_good_result_stays(talker, explorer, trait, value, sentence):
    good, frame, before = explorer.result, explorer.grid._frame, getattr(explorer, trait)
    setattr(explorer, trait, value)
    assert sentence in explorer.error
    assert sentence in explorer.status.value
    assert (explorer.result, explorer.grid._frame) == (good, frame)
    assert hooks_left(talker) == 0
    with pytest.raises(SweepError) as caught:
        explorer.finish()
    assert caught.value.partial is good.effect
    setattr(explorer, trait, before)
    assert explorer.error == ""


def test_prompts_that_are_followed_by_the_same_token_ask_for_answers(talker):
    with pytest.raises(InputError, match=r"goes on with .* after both prompts"):
        explorers.patching(talker, "The tower is in", "The bridge is in")


def test_a_metric_that_fails_in_the_middle_stops_the_sweep_and_says_so(talker, explorer):
    def fails(logits):
        if len(logits) > 2:
            raise ValueError("too many")
        return logits[:, 7] - logits[:, 8]

    explorer.metric = fails
    assert explorer.error == "the sweep stopped at 3 of 18 cells: ValueError: too many"
    assert explorer.state == "stopped at 3 of 18"
    assert explorer.result.metric == "fails"
    assert hooks_left(talker) == 0
    explorer.metric = "logit difference"
    assert explorer.error == ""


def test_a_fault_in_the_model_is_shown_and_leaves_the_explorer_usable(explorer, monkeypatch):
    monkeypatch.setattr(MODULE, "prepare", lambda *_: 1 / 0)
    explorer.clean = THIRD
    assert "ZeroDivisionError" in explorer.error
    monkeypatch.undo()
    explorer.site = "z"
    assert (explorer.error, explorer.result.clean) == ("", THIRD)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"site": "neurons"}, InputError, "too many"),
        ({"site": "resid_per"}, HookError, "did you mean 'resid_pre'"),
        ({"direction": "up"}, InputError, "denoising"),
        ({"metric": "logits"}, InputError, "no metric 'logits'"),
        ({"metric": 3}, InputError, "got int"),
        ({"corrupted": "a"}, PromptError, "same number of tokens"),
    ],
)
def test_a_wrong_beginning_raises(talker, options, error, sentence):
    with pytest.raises(error, match=sentence):
        explore(talker, **options)
    assert hooks_left(talker) == 0


def test_an_unknown_metric_is_refused_and_changes_nothing(explorer):
    good = explorer.result
    with pytest.raises(InputError, match="no metric"):
        explorer.metric = "logits"
    assert (explorer.metric, explorer.result) == ("logit difference", good)


def test_several_traits_set_at_once_are_one_request(explorer, monkeypatch):
    asked, prepare = [], MODULE.prepare
    monkeypatch.setattr(MODULE, "prepare", lambda talker, request: asked.append(request) or prepare(talker, request))
    with explorer.hold_trait_notifications():
        explorer.clean, explorer.corrupted, explorer.direction = THIRD, CLEAN, "noising"
    assert [request[:2] for request in asked] == [(THIRD, CLEAN)]


def test_an_earlier_run_stands_beside_the_current_one_linked_to_it(explorer):
    explorer.clean = THIRD
    first, second = explorer.runs
    assert (first.clean, second.clean) == (CLEAN, THIRD)
    explorer.controls.compare.index = 1
    other = explorer._views.other
    assert explorer.compared is first
    assert explorer.rows[0] == [explorer.grid, other]
    np.testing.assert_array_equal(np.frombuffer(other._frame["effect"], np.float32).reshape(3, 6), first.effect)
    assert (other._scale.vmin, other._scale.vmax) == (explorer.grid._scale.vmin, explorer.grid._scale.vmax)
    explorer.grid.select(1, 3)
    assert (other.layer, other.column) == (1, 3)
    other.select(2, 1)
    assert (explorer.layer, explorer.column) == (2, 1)
    assert explorer.figure().get_size_inches()[0] > 8
    explorer.controls.compare.index = 0
    assert (explorer.compared, explorer.rows[0]) == (None, [explorer.grid])


def test_positions_are_linked_again_after_heads_stood_beside_them(explorer):
    explorer.site = "z"
    explorer.compared = explorer.runs[0]
    other = explorer._views.other
    explorer.grid.select(1, 3)
    assert (explorer.grid.head, other.column) == ("1.3", None)
    explorer.site = "attn_out"
    explorer.grid.select(2, 5)
    assert (other.layer, other.column) == (2, 5)
    assert explorer.controls.compare.label.startswith("1 · resid_pre · denoising")


def test_sites_pins_and_comparisons_in_any_order(explorer):
    """Grids of positions and of heads pin different things, and what one pins must not chase the other around."""
    choice = random.Random(0)
    for _ in range(60):
        explorer.site = choice.choice(("resid_pre", "z", "k"))
        explorer.compared = choice.choice([None, *explorer.runs])
        columns = explorer.result.effect.shape[1]
        pin = choice.choice((None, 0, 1, 2)), choice.choice((None, *range(columns)))
        explorer.select(*pin)
        assert (explorer.layer, explorer.column) == pin
        assert (explorer.after is None) == (None in pin)
        other = explorer._views.other
        if explorer.compared and explorer.compared.effect.dims == explorer.result.effect.dims and None not in pin:
            assert (other.layer, other.column) == pin or pin[1] >= explorer.compared.effect.shape[1]
    assert explorer.error == ""


def test_only_the_last_runs_are_kept(explorer, monkeypatch):
    monkeypatch.setattr(importlib.import_module("nbtools.explorers._patch_layout"), "_KEPT", 2)
    first = explorer.runs[0]
    explorer.compared = first
    explorer.direction = "noising"
    assert explorer.compared is first
    explorer.direction = "denoising"
    assert [run.direction for run in explorer.runs] == ["noising", "denoising"]
    assert explorer.compared is None
    assert len(explorer.controls.compare.options) == 3


def test_edits_from_another_thread_while_the_main_thread_runs_the_model(talker):
    """The widget callbacks of a kernel come like this while a cell is running."""
    shown = []

    async def main() -> None:
        explorer = explore(talker)
        explorer.observe(lambda change: shown.append(change["new"]), "result")

        def edit() -> None:
            for number in range(100):
                explorer.clean = (CLEAN, THIRD)[number % 2]
                explorer.grid.select(number % 3, number % 6)
                explorer.cancel()

        reference = patching.attribute(talker, explorer.result.task, "resid_pre")
        edits = threading.Thread(target=edit)
        edits.start()
        for _ in range(3):  # the cell: its own results must not be disturbed either
            again = patching.attribute(talker, explorer.result.task, "resid_pre")
            np.testing.assert_array_equal(again, reference)
        edits.join()
        await until(lambda: explorer.result.clean == explorer.clean == THIRD and not explorer.busy)
        assert (explorer.layer, explorer.column) == (0, 3)
        assert explorer.after is not None

    asyncio.run(main())
    assert shown
    for result in shown:
        known = np.isfinite(result.effect.values)
        np.testing.assert_allclose(result.effect.values[known], exact(talker, result).values[known], atol=1e-4)
    assert hooks_left(talker) == 0


def test_a_closed_explorer_stops_its_sweep(talker):
    async def main() -> None:
        explorer = explore(talker)
        explorer.close()
        assert not explorer.busy

    asyncio.run(main())


def test_the_explorer_leaves_a_picture_and_a_plain_repr(explorer, tmp_path):
    explorer.select(2, 4)
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    assert repr(explorer).endswith("metric='logit difference', direction='denoising', layer=2, column=4)")
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert len(bundle["image/png"]) < 80_000
    assert explorer.save(tmp_path / "explorer.html").stat().st_size > 10_000
