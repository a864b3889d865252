"""Path patching is exact: equal to slow runs with plain hooks, and to TransformerLens's own, on many families."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from transformer_lens import patching as lens

from nbtools.errors import HookError, InputError, SweepError
from nbtools.patching import PathSweep, patch, path_attribute, path_patch
from nbtools.runs import forward
from nbtools.tasks import pair
from tests.conftest import hooks_left
from tests.families import FAMILIES, bridge, ungrouped

CLEAN = [5, 17, 3, 88, 17, 9, 40, 2]
CORRUPTED = [5, 17, 60, 88, 17, 9, 41, 2]  # they differ at 2 and at 6
EVERYWHERE, END = list(range(8)), [7]
NEVER_RESUMED = {"native"}
ONE_LAYER, TWO_LAYERS = [(3, 0), (3, 2)], [(2, 1), (3, 0), (3, 1)]


def task_of(model):
    return pair(model, CLEAN, CORRUPTED, [7], [8])


def activations(model, ids, names):
    kept = {}
    hooks = [(name, lambda value, hook, name=name: kept.update({name: value.clone()})) for name in names]
    with torch.no_grad():
        logits = model.run_with_hooks(ids, fwd_hooks=hooks)
    return logits, kept


def z_of(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_z"


def mlp_of(layer: int) -> str:
    return f"blocks.{layer}.hook_mlp_out"


class ByHooks:
    """Path patching with a row for each sender, with two runs of the hooked model that say all they do."""

    def __init__(self, model, task, receivers, through, positions, receiver_positions, mlps, share=1.0):
        self.model, self.task, self.ids = model, task, task.corrupted.ids
        self.receivers, self.through, self.mlps = receivers, through, mlps
        self.positions, self.receiver_positions = positions, receiver_positions
        layers = range(model.cfg.n_layers)
        names = [name for layer in layers for name in (z_of(layer), mlp_of(layer))]
        logits, self.base = activations(model, self.ids, names)
        source_logits, self.source = activations(model, task.clean.ids, names)
        self.source = {name: value + share * (self.source[name] - value) for name, value in self.base.items()}
        self.ends = [self.metric(logits).item(), self.metric(source_logits).item()]

    def metric(self, logits) -> np.ndarray:
        return self.task.metric(logits[:, -1].double(), torch.zeros(len(logits), dtype=int)).numpy()

    def effects(self, senders: list[tuple[int, int | None]]) -> np.ndarray:
        """Give the effects of heads, and of MLPs where no head is named."""
        with torch.no_grad():
            values = self.metric(self.second_run(*self.first_run(senders)))
        return (values - self.ends[0]) / (self.ends[1] - self.ends[0])

    def first_run(self, senders):
        hooks, ids = [], self.ids.repeat(len(senders), 1)
        for at in range(self.model.cfg.n_layers):
            z = self.base[z_of(at)].repeat_interleave(len(senders), 0)
            for row, (layer, head) in enumerate(senders):
                if layer == at and head is not None:
                    z[row, self.positions, head] = self.source[z_of(at)][0, self.positions, head]
            hooks.append((z_of(at), lambda value, hook, z=z: z))
            hooks.append(
                (mlp_of(at), self.sent_mlp(at, [row for row, sent in enumerate(senders) if sent == (at, None)]))
            )
        read = {}
        for at in {at for at, _ in self.receivers or ()}:
            name = f"blocks.{at}.attn.hook_{self.through}"
            hooks.append((name, lambda value, hook, at=at: read.update({at: value.clone()})))
        return self.model.run_with_hooks(ids, fwd_hooks=hooks), read

    def sent_mlp(self, at: int, rows: list[int]):
        def send(value, hook):
            frozen = self.base[mlp_of(at)].repeat_interleave(len(value), 0)
            value = frozen if self.mlps == "frozen" else value.clone()
            for row in rows:
                value[row, self.positions] = self.source[mlp_of(at)][0, self.positions]
            return value

        return send

    def second_run(self, logits, read):
        if self.receivers is None:
            return logits
        hooks, ids = [], self.ids.repeat(len(logits), 1)
        shared = self.model.cfg.n_heads // (self.model.cfg.n_key_value_heads or self.model.cfg.n_heads)
        shared = 1 if self.through == "q" else shared
        for at in sorted(read):
            heads = [head for layer, head in self.receivers if layer == at]
            name = f"blocks.{at}.attn.hook_{self.through}"
            put = (name, self.putting(read[at], sorted({head // shared for head in heads})))
            if shared == 1:
                hooks.append(put)
                continue
            out = {}  # what these heads put out if their whole group had it
            keep = (z_of(at), lambda value, hook, out=out: out.update(z=value.clone()))
            self.model.run_with_hooks(ids, fwd_hooks=[*hooks, put, keep])
            hooks.append((z_of(at), self.taking(out["z"], heads)))
        return self.model.run_with_hooks(ids, fwd_hooks=hooks)

    def putting(self, given, heads: list[int]):
        def put(value, hook):
            value = value.clone()
            for position in self.receiver_positions:
                value[:, position, heads] = given[:, position, heads]
            return value

        return put

    def taking(self, z, heads: list[int]):
        def take(value, hook):
            value = value.clone()
            value[:, :, heads] = z[:, :, heads]
            return value

        return take


def expected(model, task, layers, receivers=None, through="q", positions=EVERYWHERE, at=EVERYWHERE, mlps="recomputed"):
    """Give the effects of all heads, and of the MLP in a last column, in some layers."""
    slow = ByHooks(model, task, receivers, through, positions, at, mlps)
    columns = [*range(model.cfg.n_heads), None]
    return slow.effects([(layer, head) for layer in layers for head in columns]).reshape(len(layers), len(columns))


def found(model, task, layers, **options) -> xr.DataArray:
    names = [name for layer in layers for name in (*(f"{layer}.{head}" for head in range(4)), f"mlp{layer}")]
    effect = path_patch(model, task, senders=names, **options)
    assert effect.sender.values.tolist() == names
    return effect


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mlps", ["recomputed", "frozen"])
@pytest.mark.parametrize(
    ("receivers", "through"),
    [(None, "q"), (ONE_LAYER, "q"), (TWO_LAYERS, "q"), (ONE_LAYER, "k"), (TWO_LAYERS, "k"), (TWO_LAYERS, "v")],
    ids=["logits", "q", "q of two layers", "k", "k of two layers", "v of two layers"],
)
def test_every_path_is_what_two_runs_with_plain_hooks_give(family, receivers, through, mlps):
    model = bridge(family)
    task, layers, before = task_of(model), [0, 2], hooks_left(model)
    for positions in (END, EVERYWHERE):
        options = {"receivers": receivers, "through": through, "mlps": mlps, "positions": positions}
        effect = found(model, task, layers, **options)
        assert effect.attrs["engine"] == ("hooks" if family in NEVER_RESUMED else "resumed")
        np.testing.assert_allclose(effect, expected(model, task, layers, **options).ravel(), atol=1e-4)
    assert float(abs(effect).max()) > 1e-3
    assert hooks_left(model) == before


@pytest.mark.parametrize("engine", ["auto", "hooks"])
@pytest.mark.parametrize("family", ["Llama with groups", "GPT-NeoX", "Gemma-2"])
@pytest.mark.parametrize(("through", "places", "at"), [("q", [2], [4, 7]), ("k", [2, 6], [2]), ("v", [3, 6], [5, 6])])
def test_senders_and_receivers_have_their_own_positions(family, through, places, at, engine):
    model = bridge(family)
    task, options = task_of(model), {"receivers": TWO_LAYERS, "through": through, "positions": places}
    effect = found(model, task, [1, 2], receiver_positions=at, engine=engine, **options)
    np.testing.assert_allclose(effect, expected(model, task, [1, 2], at=at, **options).ravel(), atol=1e-4)


@pytest.mark.parametrize("engine", ["auto", "hooks"])
@pytest.mark.parametrize("through", ["q", "k", "v"])
def test_a_receiver_is_one_head_of_its_group(through, engine):
    """As in the same model whose heads have keys and values of their own."""
    grouped, alone = bridge("Llama with groups"), ungrouped()
    options = {"receivers": TWO_LAYERS, "through": through}
    effect = path_patch(grouped, task_of(grouped), engine=engine, **options)
    np.testing.assert_allclose(effect, path_patch(alone, task_of(alone), engine=engine, **options), atol=1e-4)
    slow = expected(alone, task_of(alone), [0, 1, 2], **options)
    np.testing.assert_allclose(effect[:3], slow[:, :-1], atol=1e-4)


@pytest.mark.parametrize(
    ("family", "through"),
    [("Llama", "q"), ("Llama", "k"), ("Llama", "v"), ("GPT-2", "q"), ("GPT-2", "v"), ("Llama with groups", "q")],
)
def test_one_edge_is_what_transformer_lens_gives(family, through):
    """Theirs adds the sender's change to what one head reads, which is to freeze attention and MLPs."""
    model = bridge(family)
    task = task_of(model)

    def metric(logits):
        return task.metric(logits[:, -1], torch.zeros(1, dtype=int))

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, clean = model.run_with_cache(task.clean.ids)
        _, corrupted = model.run_with_cache(task.corrupted.ids)
        theirs = lens.get_act_patch_direct_path(
            model, task.corrupted.ids, clean, corrupted, metric, 0, 1, through, verbose=False
        )
    for layer in (1, 2, 3):
        for head in range(4):
            ours = path_patch(model, task, senders="0.1", receivers=[(layer, head)], through=through, mlps="frozen")
            value = float(ours.base + ours.sel(sender="0.1") * (ours.source - ours.base))
            assert value == pytest.approx(float(theirs[layer, head]), abs=1e-4)


def test_the_direct_path_from_the_last_layer_is_all_there_is():
    """After the last heads nothing comes but an MLP: path patching and patching are the same."""
    model = bridge("Llama")
    direct, whole = (run(model, task_of(model)) for run in (path_patch, lambda *task: patch(*task, "z")))
    np.testing.assert_allclose(direct.sel(layer=3), whole.sel(layer=3), atol=1e-4)
    assert float(abs(direct - whole).max()) > 0.01


def test_senders_at_or_after_the_receivers_reach_none():
    model = bridge("Llama")
    effect = path_patch(model, task_of(model), receivers=["1.0", "2.3"], senders="heads")
    assert effect.dims == ("layer", "head")
    assert effect.sel(layer=[2, 3]).isnull().all()
    assert effect.sel(layer=[0, 1]).notnull().all()
    assert effect.attrs["complete"] == 1
    only_later = path_patch(model, task_of(model), receivers=["2.3"])
    np.testing.assert_allclose(effect.sel(layer=1), only_later.sel(layer=1), atol=1e-5)


def test_where_nothing_can_arrive_nothing_is_run():
    model = bridge("Llama")
    for options in ({"positions": [0, 1]}, {"positions": [2]}, {"positions": [2], "receivers": "3.0",
                    "receiver_positions": "END"}):  # fmt: skip
        sweep = PathSweep(model, task_of(model), **options)
        assert len(sweep.plan.open) == 0
        list(sweep)
        assert (sweep.effect.dropna("layer") == 0).all()
        assert sweep.done == sweep.total


@pytest.mark.parametrize("engine", ["resumed", "hooks"])
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_prompts_have_their_own_positions_and_their_own_scale(direction, engine):
    model = bridge("Llama")
    clean = [CLEAN, [9, 8, 7, 6, 5, 4, 3, 2]]
    corrupted = [CORRUPTED, [9, 8, 7, 6, 50, 4, 3, 2]]
    task = pair(model, clean, corrupted, [7, 7], [8, 8], positions={"CHANGED": [2, 4]})
    options = {"receivers": TWO_LAYERS, "through": "k", "direction": direction, "engine": engine}
    both = path_patch(model, task, positions=["CHANGED", "END"], receiver_positions="CHANGED", **options)
    assert both.dims == ("prompt", "layer", "head")
    for prompt, place in ((0, 2), (1, 4)):
        one = path_patch(model, task[prompt], positions=[place, 7], receiver_positions=[place], **options)
        np.testing.assert_allclose(both.sel(prompt=prompt), one, atol=1e-4)
        np.testing.assert_allclose([both.base[prompt], both.source[prompt]], [one.base, one.source], atol=1e-4)


def test_what_is_labelled_says_what_it_is():
    model = bridge("Llama")
    task = task_of(model)
    heads = path_patch(model, task, receivers=[(3, 2), "3.0"], through="v", mlps="frozen", receiver_positions=["END"])
    assert {name: heads.attrs[name] for name in ("site", "direction", "receivers", "frozen", "positions")} == {
        "site": "z", "direction": "denoising", "receivers": "v of 3.0 3.2", "frozen": "attention and MLPs",
        "positions": "all",
    }  # fmt: skip
    assert heads.attrs["receiver_positions"] == "END"
    mlps = path_patch(model, task, senders="mlps")
    assert (mlps.dims, mlps.attrs["site"], mlps.attrs["frozen"]) == (("layer",), "mlp_out", "attention")
    every = path_patch(model, task, senders="all")
    assert every.sizes == {"sender": 20}
    np.testing.assert_allclose(every.sel(sender=[f"mlp{layer}" for layer in range(4)]), mlps, atol=1e-5)
    assert every.sel(sender="2.1").layer == 2
    np.testing.assert_allclose(path_patch(model, task).sel(layer=2, head=1), every.sel(sender="2.1"), atol=1e-5)


@pytest.mark.parametrize("budget", [0.02, 0.3])
@pytest.mark.parametrize("through", ["q", "v"])
def test_however_it_is_cut_up_it_gives_the_same(through, budget):
    model = bridge("Llama with groups")
    options = {"senders": "all", "receivers": TWO_LAYERS, "through": through}
    whole = path_patch(model, task_of(model), **options)
    np.testing.assert_allclose(path_patch(model, task_of(model), budget_mb=budget, **options), whole, atol=1e-5)
    sweep = PathSweep(model, task_of(model), piece_tokens=12, **options)
    assert max(np.diff([0, *sweep])) <= 2  # a run is six tokens: before the first difference nothing changes
    np.testing.assert_allclose(sweep.effect, whole, atol=1e-5)


def test_any_function_of_the_logits_can_be_the_metric():
    model = bridge("Qwen2")

    def chance(logits):
        return logits.softmax(-1)[:, 7]

    for receivers in (None, TWO_LAYERS):
        fast, full = (path_patch(model, task_of(model), receivers=receivers, metric=chance, engine=engine)
                      for engine in ("resumed", "hooks"))  # fmt: skip
        np.testing.assert_allclose(fast, full, atol=1e-4)
        assert fast.attrs["metric"] == "chance"


class Stops:
    """A metric that works so many times."""

    def __init__(self, times: int, error: BaseException) -> None:
        self.times, self.error = times, error

    def __call__(self, logits):
        self.times -= 1
        if self.times < 0:
            raise self.error
        return logits[:, 7] - logits[:, 8]


@pytest.mark.parametrize("engine", ["resumed", "hooks"])
@pytest.mark.parametrize("mlps", ["recomputed", "frozen"])
def test_an_error_in_the_metric_carries_what_was_done_and_leaves_the_model_as_it_was(mlps, engine):
    model = bridge("Llama")
    task, clean = task_of(model), forward(bridge("Llama"), CLEAN).logits
    options = {"senders": "all", "receivers": TWO_LAYERS, "mlps": mlps, "engine": engine}
    whole = path_patch(model, task, **options)
    with pytest.raises(SweepError, match="ZeroDivisionError: never mind") as caught:
        path_patch(model, task, metric=Stops(5, ZeroDivisionError("never mind")), budget_mb=0.05, **options)
    done = caught.value.partial.notnull()
    assert 0 < int(done.sum()) < int(whole.notnull().sum())
    np.testing.assert_allclose(caught.value.partial.where(done, 0), whole.where(done, 0), atol=1e-4)
    assert torch.equal(forward(model, CLEAN).logits, clean)
    assert hooks_left(model) == 0


def test_an_interrupt_keeps_what_is_done():
    model = bridge("Llama")
    with pytest.warns(UserWarning, match=r"stopped: \d+ of 16 cells are done, the others are NaN"):
        effect = path_patch(model, task_of(model), metric=Stops(5, KeyboardInterrupt()), budget_mb=0.02)
    assert effect.attrs["complete"] == 0
    assert effect.notnull().any()
    assert effect.isnull().any()
    assert path_patch(model, task_of(model)).notnull().all()


def test_a_model_that_cannot_be_resumed_says_why_and_falls_back():
    model = bridge("native")
    sweep = PathSweep(model, task_of(model))
    assert sweep.engine == "hooks"
    assert "could not be run on their own" in sweep.why
    with pytest.raises(InputError, match=r"cannot be resumed: .*use engine='auto'"):
        PathSweep(model, task_of(model), engine="resumed")


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "GPT-NeoX", "OPT"])
@pytest.mark.parametrize("mlps", ["recomputed", "frozen"])
@pytest.mark.parametrize(
    ("receivers", "through"), [(None, "q"), (TWO_LAYERS, "q"), (TWO_LAYERS, "k"), (TWO_LAYERS, "v")]
)
def test_an_estimate_is_the_slope_of_the_path(family, receivers, through, mlps):
    """A hundredth part of the way, forth and back: the second order is gone."""
    model, before = bridge(family), hooks_left(bridge(family))
    task, options = task_of(model), {"receivers": receivers, "through": through, "mlps": mlps}
    estimate = path_attribute(model, task, senders=["0.1", "0.3", "mlp0", "2.0", "mlp2"], **options)
    forth, back = (ByHooks(model, task, receivers, through, EVERYWHERE, EVERYWHERE, mlps, share)
                   for share in (0.01, -0.01))  # fmt: skip
    senders = [(0, 1), (0, 3), (0, None), (2, 0), (2, None)]
    slopes = (forth.effects(senders) - back.effects(senders)) / 0.02
    np.testing.assert_allclose(estimate, slopes, atol=1e-3, rtol=0.02)  # OPT's MLPs have kinks
    assert float(abs(estimate).max()) > 5e-3
    assert hooks_left(model) == before


@pytest.mark.parametrize("steps", [1, 2])
def test_steps_lie_between_the_embeddings_of_base_and_source(steps):
    """To the logits, with MLPs frozen, a slope is that of the last norm and the unembedding."""
    model = bridge("Llama")
    task, last = task_of(model), "blocks.3.hook_resid_post"
    embedded = [forward(model, ids, capture=["embed.hook_out"])["embed.hook_out"] for ids in (CORRUPTED, CLEAN)]
    slopes = []
    for share in np.arange(steps) / steps:
        moved = embedded[0] + share * (embedded[1] - embedded[0])
        run = forward(model, CORRUPTED, capture=[last], edit={"embed.hook_out": lambda value, moved=moved: moved})
        stream = run[last].requires_grad_(True)
        metric = task.metric(model.unembed(model.ln_final(stream))[:, -1], torch.zeros(1, dtype=int))
        slopes.append(torch.autograd.grad(metric.sum(), stream)[0][0, -1])
    change = [activations(model, side.ids, [z_of(1)])[1][z_of(1)][0, -1] for side in (task.clean, task.corrupted)]
    written = torch.einsum("hd,hdm->hm", change[0] - change[1], model.blocks[1].attn.W_O)
    estimate = path_attribute(model, task, mlps="frozen", steps=steps)
    expected = (written @ (sum(slopes) / steps)).detach() / float(estimate.source - estimate.base)
    np.testing.assert_allclose(estimate.sel(layer=1), expected, atol=1e-4)


def test_an_estimate_has_the_labels_of_the_exact_effects():
    model = bridge("Llama with groups")
    task = task_of(model)
    for options in ({}, {"receivers": TWO_LAYERS, "through": "k", "mlps": "frozen"}, {"senders": "all"}):
        exact = path_patch(model, task, **options)
        estimate = path_attribute(model, task, **options)
        assert estimate.dims == exact.dims
        xr.testing.assert_allclose(estimate.coords.to_dataset(), exact.coords.to_dataset(), atol=1e-4)
        np.testing.assert_array_equal(estimate.isnull(), exact.isnull())
        assert estimate.attrs == exact.attrs | {"engine": "attribution"}
    assert (path_attribute(model, task, positions=[0]) == 0).all()
    with pytest.raises(InputError, match="expected one step or more, got 0"):
        path_attribute(model, task, steps=0)


def test_each_prompt_has_its_own_estimate():
    model = bridge("Qwen2")
    clean = [CLEAN, [9, 8, 7, 6, 5, 4, 3, 2]]
    corrupted = [CORRUPTED, [9, 8, 7, 6, 50, 4, 3, 2]]
    task, options = pair(model, clean, corrupted, [7, 7], [8, 8]), {"receivers": ["3.1"], "through": "v"}
    both = path_attribute(model, task, **options)
    for prompt in (0, 1):
        np.testing.assert_allclose(both[prompt], path_attribute(model, task[prompt], **options), atol=1e-4)


def test_without_layers_that_run_on_their_own_there_is_no_estimate():
    model = bridge("native")
    with pytest.raises(InputError, match=r"no estimate of paths: .*path_patch\(…\) works without"):
        path_attribute(model, task_of(model))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        ({"senders": ["9.0"]}, HookError, r"head 9\.0 does not exist: expected layers 0 to 3 and heads 0 to 3"),
        ({"senders": ["mlp4"]}, HookError, "mlp4 does not exist: expected layers 0 to 3"),
        (
            {"senders": "everyone"},
            HookError,
            "expected senders 'heads', 'mlps', 'all', or some such as.*got 'everyone'",
        ),
        ({"senders": []}, InputError, "expected one sender or more, got none"),
        ({"receivers": ["1.7"]}, HookError, r"head 1\.7 does not exist"),
        ({"receivers": []}, InputError, "expected one receiver head or more, got none: receivers=None is the logits"),
        ({"receivers": "0.1"}, InputError, r"no sender comes before a receiver \(q of 0\.1\): expected senders below"),
        ({"receivers": "2.1", "senders": ["2.0", "mlp3"]}, InputError, r"below layer 2, got 2\.0, mlp3"),
        ({"receivers": "2.1", "through": "z"}, InputError, "expected through 'q', 'k' or 'v'.*got 'z'"),
        ({"mlps": "warm"}, InputError, "expected mlps 'recomputed' or 'frozen', got 'warm'"),
        ({"positions": "S2"}, InputError, "no position 'S2' in this task: it names END"),
        ({"positions": [9]}, HookError, r"expected positions between 0 and 7, got \[9\]"),
        ({"positions": ["END", 9]}, HookError, r"expected positions between 0 and 7, got \[9\]"),
        ({"receiver_positions": "END"}, InputError, "receiver_positions= goes with receivers="),
        ({"receivers": "2.1", "receiver_positions": [-9]}, HookError, "expected positions between 0 and 7"),
        ({"direction": "up"}, InputError, "'denoising' or 'noising', got 'up'"),
        ({"piece_tokens": 0}, InputError, "expected one token or more in a piece, got 0"),
        ({"engine": "fast"}, InputError, "'auto', 'resumed' or 'hooks', got 'fast'"),
    ],
)
def test_bad_input_is_explained(call, error, sentence):
    model = bridge("Llama")
    with pytest.raises(error, match=sentence):
        PathSweep(model, task_of(model), **call)
