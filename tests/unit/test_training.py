"""Training is the same each time, can be left and gone on with, and all of it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import nbtools as nb
from nbtools.errors import DataError, InputError
from nbtools.training import (
    SINK_MEASURES,
    SinkProgress,
    TinyConfig,
    TinyTransformer,
    Training,
    Trajectory,
    bigram_backcopy,
    log_spaced,
    train,
)

DATA = bigram_backcopy()
SMALL = TinyConfig(d_model=16, d_head=16, d_mlp=24, length=12)
SHIPPED = Path(__file__).parents[2] / "data" / "sinks"


def few(model: TinyTransformer) -> dict[str, float | np.ndarray]:
    norm = model.embed.W_E.norm().item()
    return {"norm": norm, "twice": np.array([norm] * model.cfg.n_layers)}


def options(**more) -> dict:
    return {"steps": 30, "batch": 4, "measure_every": 10, "keep": 10, "measure": few} | more


def same(one: Trajectory, other: Trajectory) -> bool:
    equal = one.checkpoints.keys() == other.checkpoints.keys() and one.kept == other.kept
    weights = all(torch.equal(one.checkpoints[name], other.checkpoints[name]) for name in one.checkpoints)
    return equal and weights and one.measures.identical(other.measures)


@pytest.fixture(scope="module")
def short() -> Trajectory:
    return train(SMALL, DATA, **options())


@pytest.fixture(scope="module")
def live() -> Trajectory:
    """Train as in the notebook, but for a third as long."""
    return train(TinyConfig(), DATA, steps=350, measure_every=50, keep=(0, 100, 350))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("attention", ["softmax", "relu", "clipped", "gated"])
def test_the_same_seed_gives_the_same_model_and_another_seed_another(optimizer, attention):
    config = replace(SMALL, attention=attention)
    first, again, other = (
        train(config, DATA, **options(steps=12, optimizer=optimizer, seed=seed)) for seed in (1, 1, 2)
    )
    assert same(first, again)
    assert not torch.equal(first.checkpoints["unembed.W_U"][-1], other.checkpoints["unembed.W_U"][-1])
    moved = [name for name, values in first.checkpoints.items() if not torch.equal(values[0], values[-1])]
    assert set(moved) == set(first.checkpoints), "every parameter is trained"


def test_a_training_that_is_left_and_gone_on_with_is_the_same_bit_for_bit(short):
    training = Training(SMALL, DATA, **options())
    for progress in training:
        if progress.step == 10:
            break
    nb.measures.attention(training.model, DATA.sample(1, 12, torch.Generator().manual_seed(0)))
    torch.randn(100)
    assert [progress.step for progress in training] == [20, 30]
    assert same(training.trajectory(), short)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_that_is_taken_up_by_another_one_is_the_same_bit_for_bit(optimizer):
    whole = train(SMALL, DATA, **options(optimizer=optimizer))
    first = Training(SMALL, DATA, **options(optimizer=optimizer))
    next(first), next(first)
    state = first.state_dict()
    list(first)  # goes on; what was taken from it does not change
    second = Training(SMALL, DATA, **options(optimizer=optimizer))
    second.load_state_dict(state)
    assert second.step == 10
    assert [progress.step for progress in second] == [20, 30]
    assert same(second.trajectory(), whole) and same(first.trajectory(), whole)


def test_a_training_can_go_further_than_it_was_asked_to(short):
    training = Training(SMALL, DATA, **options(steps=10))
    assert [progress.step for progress in training] == [0, 10]
    training.steps = 30
    assert [progress.step for progress in training] == [20, 30]
    assert same(training.trajectory(), short)


def test_cancelling_keeps_what_was_done(short):
    training = Training(SMALL, DATA, **options(cancel=lambda: training.step >= 15))
    assert [progress.step for progress in training] == [0, 10]
    found = training.trajectory()
    assert training.step == 15 and found.kept == (0, 10, 15) and found.measures.step.values.tolist() == [0, 10]
    assert found.measures.identical(short.measures.sel(step=[0, 10]))
    assert train(SMALL, DATA, **options(cancel=lambda: True)).kept == (0,)


@pytest.mark.parametrize(
    ("keep", "kept"), [(7, (0, 7, 14, 21, 28, 30)), ((3, 11), (3, 11, 30)), ((), ()), ((30,), (30,)), ((99,), ())]
)
def test_weights_are_kept_at_the_steps_that_were_asked_for_and_at_the_end(keep, kept):
    assert train(SMALL, DATA, **options(keep=keep)).kept == kept


def test_the_first_and_the_last_step_are_measured_and_each_domain_has_its_loss():
    records = list(Training(SMALL, DATA, **options(steps=25)))
    assert [record.step for record in records] == [0, 10, 20, 25]
    assert all(set(record.losses) == {"backcopy", "bigram"} for record in records)
    assert all(np.isnan(loss) for loss in records[0].losses.values())
    assert all(3 < loss < 5.5 for loss in records[1].losses.values())
    assert records[-1].seconds_left == 0 and np.isnan(records[0].seconds_left)
    seconds = [record.seconds for record in records]
    assert seconds == sorted(seconds) and "seconds" not in repr(records[1])
    assert records[1].seconds_left == pytest.approx(seconds[1] * 1.5)


def test_the_loss_of_a_domain_is_the_mean_over_its_positions_since_the_last_measured_step():
    training = Training(SMALL, DATA, **options(steps=1))
    generator = torch.Generator().manual_seed(0)
    model = TinyTransformer(SMALL, generator=generator)
    drawn = DATA.sample(4, 13, generator)
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(
            model(drawn[:, :-1]).flatten(0, 1), drawn[:, 1:].flatten(), reduction="none"
        )
    copies = DATA.is_trigger(drawn[:, :-1]).flatten()
    last = list(training)[-1]
    assert last.losses["backcopy"] == pytest.approx(nats[copies].mean().item(), rel=1e-5)
    assert last.losses["bigram"] == pytest.approx(nats[~copies].mean().item(), rel=1e-5)
    assert training.trajectory().measures.loss_bigram.values[-1] == last.losses["bigram"]


def test_torch_has_one_thread_while_it_trains_and_as_many_as_before_afterwards():
    seen = []

    def threads(model: TinyTransformer) -> dict[str, float]:
        seen.append(torch.get_num_threads())
        if len(seen) == 3:
            raise ValueError
        return {"threads": seen[-1]}

    before = torch.get_num_threads()
    nb.runs.settle_threads()
    torch.set_num_threads(3)
    try:
        training = Training(SMALL, DATA, **options(measure=threads))
        next(training)
        assert torch.get_num_threads() == 3
        next(training)
        with pytest.raises(ValueError):
            next(training)
        assert torch.get_num_threads() == 3 and seen == [1, 1, 1]
    finally:
        torch.set_num_threads(before)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(SMALL, DATA, **options(steps=5, measure=None))
    assert torch.equal(torch.rand(3), expected)


def test_measures_are_those_of_the_definition(live):
    model, progress = live.model(100), SinkProgress(DATA, sequences=32)
    found = progress(model)
    assert list(found) == list(SINK_MEASURES)
    ids = progress.ids[:, :-1]
    names = {name: f"blocks.0.{name}" for name in ("attn.hook_pattern", "attn.hook_attn_scores", "attn.hook_v")}
    run = nb.runs.forward(model, ids, capture=[*names.values(), "blocks.0.hook_resid_post"])
    pattern, scores, v = (run[hook][:, 0] if "hook_v" not in hook else run[hook][:, :, 0] for hook in names.values())
    trigger = DATA.is_trigger(ids)
    rows = [(prompt, query) for prompt, query in (~trigger).nonzero().tolist() if query >= 4]
    copies = trigger.nonzero().tolist()
    sink = np.mean([pattern[prompt, query, 0] for prompt, query in rows])
    quiet = [pattern[prompt, query, 0] + pattern[prompt, query][trigger[prompt]].sum() for prompt, query in rows]
    gap = np.mean([scores[prompt, query, 0] - scores[prompt, query, 1 : query + 1].mean() for prompt, query in rows])
    given = (v @ model.blocks[0].attn.W_O[0].detach()).norm(dim=-1)
    stream = run["blocks.0.hook_resid_post"]
    norms = stream.norm(dim=-1)
    log_probability = run.logits.log_softmax(-1)
    excess = [
        sum(p * (np.log(p) - log_probability[prompt, query, token].item()) for token, p in enumerate(row) if p)
        for (prompt, query), row in zip(
            (~trigger).nonzero().tolist()[:200], DATA.oracle(ids)[~trigger][:200].tolist(), strict=True
        )
    ]
    assert found["sink"][0] == pytest.approx(sink, rel=1e-4)
    assert found["sink_or_trigger"][0] == pytest.approx(np.mean(quiet), rel=1e-4)
    assert found["sink_logit_gap"][0] == pytest.approx(gap, rel=1e-4)
    assert found["trigger_to_bos"][0] == pytest.approx(np.mean([pattern[p, q, 0] for p, q in copies]), rel=1e-4)
    assert found["trigger_to_previous"][0] == pytest.approx(
        np.mean([pattern[p, q, q - 1] for p, q in copies]), rel=1e-4
    )
    assert found["drain"][0] == pytest.approx((given[:, 0].mean() / given[:, 1:].mean()).item(), rel=1e-4)
    assert found["residual_ratio"][0] == pytest.approx((norms[:, 0].mean() / norms[:, 1:].median()).item(), rel=1e-4)
    assert found["max_inf_norm"] == pytest.approx(stream.abs().flatten(1).max(1).values.mean().item(), rel=1e-4)
    flat = stream.flatten(1).double().numpy()
    centred = flat - flat.mean(1, keepdims=True)
    assert found["kurtosis"] == pytest.approx(((centred**4).mean(1) / (centred**2).mean(1) ** 2).mean(), rel=1e-3)
    right = [run.logits[p, q].argmax() == progress.ids[p, q + 1] for p, q in copies]
    assert found["backcopy_accuracy"] == pytest.approx(np.mean(right))
    assert found["bigram_excess"] == pytest.approx(np.mean(excess), rel=0.3)
    assert found["bigram_excess"] > 0


def test_measures_of_layers_without_attention_are_undefined():
    config = TinyConfig(layers=3, attention=("none", "softmax", "none"))
    found = SinkProgress(DATA, sequences=8)(TinyTransformer(config))
    assert np.isnan(found["sink"]).tolist() == np.isnan(found["drain"]).tolist() == [True, False, True]
    assert np.isfinite(found["residual_ratio"]).all()


def test_a_small_model_learns_to_copy_and_its_sink_forms(live):
    end = live.measures.isel(step=-1, layer=0)
    assert end.backcopy_accuracy > 0.95
    assert end.sink > 0.5 and end.trigger_to_bos < 0.05 and end.trigger_to_previous > 0.8
    assert end.drain < 0.4 < live.measures.drain.isel(step=0, layer=0)
    assert end.bigram_excess < 0.1
    assert float(live.measures.sink.isel(step=0, layer=0)) < 0.2


def test_the_attention_of_a_kept_model_can_be_looked_at(live):
    pattern = nb.measures.attention(live.model(), "the tree in the river").isel(layer=0, head=0)
    tokens = pattern.query_token.values
    queries = [at for at, token in enumerate(tokens) if at >= 4 and token not in " et"]
    copies = [at for at, token in enumerate(tokens) if at >= 2 and token in " et" and tokens[at - 1] not in " et"]
    assert float(pattern.isel(query=queries, key=0).mean()) > 0.4
    assert np.mean([pattern.values[at, at - 1] for at in copies]) > 0.6


def test_the_model_of_the_nearest_kept_step_is_given(live):
    assert live.model(120).cfg.model_name == "bigram_backcopy, step 100"
    assert live.model().cfg.model_name == live.model(10_000).cfg.model_name == "bigram_backcopy, step 350"
    again = SinkProgress(DATA)(live.model(100))
    for name in SINK_MEASURES:
        assert again[name] == pytest.approx(live.measures[name].sel(step=100).values, rel=1e-5), name


def test_what_is_saved_is_loaded_again(short, tmp_path):
    short.save(tmp_path / "run.safetensors")
    again = Trajectory.load(tmp_path / "run.safetensors")
    assert same(again, short) and repr(again) == repr(short)
    assert again.config == short.config and again.about == short.about
    assert torch.equal(again.data.transitions, DATA.transitions) and again.data.labels == DATA.labels
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "run.safetensors").read_bytes()
    with safe_open(tmp_path / "run.safetensors", "pt") as opened:
        assert json.loads(opened.metadata()["nbtools"])["config"]["d_model"] == 16


def test_half_precision_takes_half_the_space_and_measures_hardly_notice(live, tmp_path):
    live.save(tmp_path / "whole.safetensors")
    live.save(tmp_path / "half.safetensors", half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole
    measured = SinkProgress(DATA)(Trajectory.load(tmp_path / "half.safetensors").model())
    assert measured["sink"] == pytest.approx(live.measures.sink.isel(step=-1).values, abs=2e-3)


def test_a_trajectory_without_weights_has_its_measures(tmp_path):
    found = train(SMALL, DATA, **options(keep=()))
    found.save(tmp_path / "run.safetensors")
    again = Trajectory.load(tmp_path / "run.safetensors")
    assert again.kept == () and again.measures.identical(found.measures)
    with pytest.raises(InputError, match="no weights were kept"):
        again.model()


def test_a_file_that_is_no_trajectory_is_refused(short, tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(DataError, match=r"cannot read .*run.safetensors"):
        Trajectory.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"cannot read .*expected a trajectory"):
        Trajectory.load(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(DataError, match="is not a trajectory: expected format 'nbtools trajectory 1', got None"):
        Trajectory.load(path)
    short.save(path)
    with safe_open(path, "pt") as opened:
        header = opened.metadata()
    tensors = load_file(path)
    for damage in ("steps", "weights.unembed.W_U", "data.transitions"):
        save_file({name: tensor for name, tensor in tensors.items() if name != damage}, path, metadata=header)
        with pytest.raises(DataError, match="is damaged: expected a whole trajectory"):
            Trajectory.load(path)
    words = json.loads(header["nbtools"]) | {"config": {"layers": 0}}
    save_file(tensors, path, metadata={"nbtools": json.dumps(words)})
    with pytest.raises(DataError, match="is damaged"):
        Trajectory.load(path)
    with pytest.raises(DataError, match="cannot write"):
        short.save(tmp_path / "missing" / "run.safetensors")


def test_runs_of_several_seeds_are_joined_by_xarray():
    runs = [train(SMALL, DATA, **options(seed=seed, keep=())) for seed in (3, 4)]
    joined = xr.concat([run.measures for run in runs], "seed")
    assert joined.norm.dims == ("seed", "step") and joined.seed.values.tolist() == [3, 4]
    assert joined.twice.dims == ("seed", "step", "layer")


def test_steps_lie_close_together_at_first():
    assert log_spaced(100, 4) == [0, 1, 10, 100]
    steps = log_spaced(5, 50)
    assert steps == sorted(set(steps)) and steps[0] == 0 and steps[-1] == 5
    with pytest.raises(InputError, match="got steps=0 and count=4"):
        log_spaced(0, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "whole numbers from 1, got steps=0"),
        ({"batch": 2.5}, "got batch=2.5"),
        ({"measure_every": 0}, "got measure_every=0"),
        ({"optimizer": "adam"}, "one of adamw, sgd, got 'adam'"),
        ({"keep": 0}, "at least 1 between them, got 0"),
    ],
)
def test_a_training_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        train(SMALL, DATA, **options(**wrong))


def test_data_and_model_must_have_the_same_vocabulary():
    with pytest.raises(InputError, match="the data has 64 tokens, the model 50: set vocabulary=64"):
        train(replace(SMALL, vocabulary=50), DATA)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_what_is_shipped_is_whole_and_its_weights_give_what_was_measured(path):
    found = Trajectory.load(path)
    assert found.measures.backcopy_accuracy.isel(step=-1) > 0.95
    if found.kept:
        again = SinkProgress(found.data)(found.model())
        for name in ("sink", "drain", "backcopy_accuracy", "bigram_excess"):
            assert np.allclose(again[name], found.measures[name].isel(step=-1), atol=5e-3, equal_nan=True), name


def test_what_is_shipped_shows_what_the_notebook_says():
    ends = {path.stem: Trajectory.load(path).measures.isel(step=-1) for path in sorted(SHIPPED.glob("*.safetensors"))}
    seeds = [ends[f"softmax-{seed}"].isel(layer=0) for seed in range(5)]
    assert all(end.sink > 0.6 and end.trigger_to_bos < 0.05 and end.drain < 0.4 for end in seeds)
    most = max(end.drain.item() for end in seeds)
    assert ends["relu"].sink.item() < 0.05 and ends["relu"].drain.item() > 1.5 * most
    assert ends["gated"].sink.item() < 0.1 and ends["gated"].drain.item() > 0.8
    assert ends["clipped-more"].sink.item() < 0.3
    assert ends["sgd"].sink.item() > 0.6 and ends["sgd"].drain.item() < 0.4
    assert ends["attention_only"].sink.item() > 0.6 and ends["attention_only"].drain.item() > 0.6
    adam, sgd = (ends[name].residual_ratio.values for name in ("three_layers", "three_layers-sgd"))
    assert adam[0] > 3 > 2 > sgd[0] and adam[2] < 1.2
