"""What is read off circuits: exact sums, known matrices, TransformerLens's own numbers where it has them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from nbtools import measures
from nbtools.errors import ArrayError, HookError, InputError, ModelError
from nbtools.measures._weights import layer_weights, unembedding
from nbtools.runs import forward
from tests.conftest import VOCABULARY, hooks_left, tiny_bridge
from tests.families import FAMILIES, bridge, ungrouped
from tests.unit.test_lens import projected

SEEDS = (0, 1, 2)


def ids(seed: int, prompts: int = 3, positions: int = 7) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (prompts, positions), generator=torch.Generator().manual_seed(seed))


def total(found) -> np.ndarray:
    return found.sum(["layer", "head"]).to_array().sum("variable").values


# Direct logit attribution


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_all_components_say_adds_up_to_the_logit_difference_of_the_model(family, seed):
    model, prompts = bridge(family), ids(seed)
    hooks = hooks_left(model)  # OPT's attention has some of its own
    found = measures.logit_attribution(model, prompts, [1, 2, 3], [4, 5, 6])
    logits = forward(model, prompts, capture=["unembed.hook_out"])["unembed.hook_out"][:, -1]
    own = logits[range(3), [1, 2, 3]] - logits[range(3), [4, 5, 6]]
    np.testing.assert_allclose(total(found), own, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.logit_difference, own, rtol=1e-6, atol=1e-6)
    assert found.attrs["off"] < 1e-4 and hooks_left(model) == hooks
    assert found.heads.dims == ("prompt", "layer", "head") and found.mlps.dims == ("prompt", "layer")


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "Gemma-2"])
def test_the_difference_is_that_of_the_logits_and_of_several_tokens_the_mean(family):
    model, prompts = bridge(family), ids(3)
    wrong = [[4, 7], [5, 8], [6, 9]]
    found = measures.logit_attribution(model, prompts, [1, 2, 3], wrong)
    logits = forward(model, prompts).logits[:, -1]
    own = logits[range(3), [1, 2, 3]] - logits.gather(1, torch.tensor(wrong)).mean(1)
    np.testing.assert_allclose(found.logit_difference, own, atol=1e-5)
    assert found.attrs["note"] == "the model's own logits"


def test_of_capped_logits_it_is_the_difference_before_the_cap_and_says_so():
    found = measures.logit_attribution(bridge("Gemma-2"), ids(0), [1, 2, 3], [4, 5, 6])
    assert found.attrs["note"] == "before the model caps or scales its logits"


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "Gemma-2", "GPT-NeoX", "native"])
def test_a_head_says_what_its_own_output_does_to_the_logits_with_the_scale_held(family):
    """Take the head out of the last stream by hand, and read the change with the scales of the whole run."""
    model, prompts, layer, head = bridge(family), ids(4), 2, 3
    found = measures.logit_attribution(model, prompts, [1, 2, 3], [4, 5, 6])
    names = [f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.attn.hook_out", "blocks.3.hook_resid_post"]
    run = forward(model, prompts, capture=names)
    z, attended, last = (run[name][:, -1] for name in names)
    with torch.no_grad():
        written = z[:, head] @ model.blocks[layer].attn.W_O[head]
        if hasattr(model.blocks[layer], "ln1_post"):
            written = held(model.blocks[layer].ln1_post, family, attended, written)
        said = held(model.ln_final, family, last, written) @ model.unembed.W_U
    expected = said[range(3), [1, 2, 3]] - said[range(3), [4, 5, 6]]
    np.testing.assert_allclose(found.heads.sel(layer=layer, head=head), expected, rtol=1e-3, atol=1e-4)


def held(norm, family: str, stream: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """Give what a norm makes of a part of a stream, by the definition of each kind."""
    if family in ("GPT-2", "GPT-NeoX", "native"):
        spread = stream.std(1, correction=0, keepdim=True)
        return (part - part.mean(1, keepdim=True)) / spread * norm.weight
    gain = 1 + norm.weight if family == "Gemma-2" else norm.weight
    return part / stream.square().mean(1, keepdim=True).sqrt() * gain


def test_one_prompt_leaves_the_dimension_out_and_an_architecture_without_biases_has_none(tiny):
    found = measures.logit_attribution(tiny, [1, 2, 3], 4, 5)
    assert found.heads.dims == ("layer", "head") and found.logit_difference.dims == ()
    assert set(found) == {"embedding", "heads", "mlps"}
    assert {"attention_bias", "final_bias"} <= set(measures.logit_attribution(bridge("GPT-2"), [1, 2, 3], 4, 5))


def test_a_silenced_head_says_nothing_and_the_rest_still_adds_up():
    model = bridge("Llama with groups")

    def silence(z):
        z[:, :, 1] = 0

    found = measures.logit_attribution(model, ids(0), [1, 2, 3], [4, 5, 6], edit={"blocks.1.attn.hook_z": silence})
    assert (found.heads.sel(layer=1, head=1) == 0).all() and (found.heads.sel(layer=1, head=0) != 0).all()
    np.testing.assert_allclose(total(found), found.logit_difference, atol=1e-4)


def test_what_does_not_add_up_is_refused(tiny):
    with pytest.raises(ModelError, match=r"off by .* nats: this architecture, an edit"):
        measures.logit_attribution(tiny, [1, 2], 3, 4, edit={"blocks.1.hook_resid_post": lambda stream: stream + 1 / 3})
    with pytest.raises(ModelError, match="the unembedding reads 16 numbers"):
        measures.logit_attribution(projected(), [1, 2], 3, 4)


@pytest.mark.parametrize("answer", [" Paris", [1, 2], 101, -1, 1.5, True, [[1], [2]]])
def test_an_answer_that_is_not_ids_for_each_prompt_is_refused(tiny, answer):
    with pytest.raises(InputError, match="expected answer to be ids from 0 to 100, one or more for each of 3 prompts"):
        measures.logit_attribution(tiny, ids(0), answer, [1, 2, 3])


@pytest.mark.model
def test_the_embedded_model_adds_up_too(model):
    from nbtools.tasks import ioi

    task = ioi(model, prompts=4)
    found = measures.logit_attribution(model, task.clean, task.answer, task.wrong)
    own = task.metric(forward(model, task.clean).logits[:, -1]).cpu().numpy()
    np.testing.assert_allclose(total(found), own, rtol=1e-3)


# Circuits


def quiet(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def test_circuits_are_those_of_transformer_lens_where_norms_have_no_gain(tiny):
    for layer, head in ((0, 0), (1, 3), (2, 2)):
        for ours, theirs in ((measures.ov_circuit, tiny.OV), (measures.qk_circuit, tiny.QK)):
            np.testing.assert_allclose(ours(tiny, (layer, head)).AB, theirs[layer, head].AB.detach(), atol=1e-6)


def folded(family: str):
    """Give a rough random model, and TransformerLens's copy of it with the gains of norms taken into the weights."""
    from tests.families import _hooked, _rough
    from tests.families import _module as module

    model = _hooked(_rough(module(*FAMILIES[family])), family)
    quiet(
        lambda: model.enable_compatibility_mode(
            disable_warnings=True, center_writing_weights=False, center_unembed=False, fold_value_biases=False
        )
    )
    return bridge(family), model


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "Qwen2", "Mistral, sliding window"])
def test_composition_is_that_of_transformer_lens_after_fold_ln(family):
    ours, theirs = folded(family)
    for through in "qkv":
        scores = measures.composition_scores(ours, through)
        expected = theirs.all_composition_scores(through.upper()).scores.detach().numpy()
        places = np.indices(scores.shape)
        later = places[2] > places[0]
        np.testing.assert_allclose(scores.values[later], expected[later], rtol=1e-4)
        assert np.isnan(scores.values[~later]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_composition_of_random_heads_is_the_baseline(seed):
    torch.manual_seed(seed)
    model = tiny_bridge()
    scores = measures.composition_scores(model, "v")
    assert float(scores.mean()) == pytest.approx(scores.attrs["baseline"], rel=0.15)
    assert scores.attrs["baseline"] == pytest.approx(32**-0.5)


def test_a_head_that_reads_only_what_another_writes_composes_as_its_matrices_do():
    model = tiny_bridge()
    with torch.no_grad():
        model.blocks[0].attn.o.weight.zero_()[:8, :8] = torch.eye(8)  # head 0 of layer 0 writes the first eight
        model.blocks[1].attn.q.weight[16:24] = 0
        model.blocks[1].attn.q.weight[16:24, :8] = torch.eye(8)  # head 2 of layer 1 asks by them, head 3 as it did
    left, right = (
        call(model, head).AB for call, head in ((measures.ov_circuit, (0, 0)), (measures.qk_circuit, (1, 2)))
    )
    scores = measures.composition_scores(model, "q").sel(sender_layer=0, sender=0, layer=1)
    expected = (left @ right).norm() / left.norm() / right.norm()
    assert float(scores.sel(head=2)) == pytest.approx(float(expected), rel=1e-4)
    assert float(scores.sel(head=2)) > 1.5 * float(scores.sel(head=3))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_query_head_has_the_values_of_its_group_with_the_gain_of_the_norm(family):
    model, layer = bridge(family), 1
    weights, block = layer_weights(model, layer), model.blocks[layer]
    streams = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        normed = block.ln1(streams) - block.ln1(torch.zeros_like(streams))
        read = torch.einsum("td,hde->the", normed, block.attn.W_V)
    for head in range(4):
        own = streams @ weights.v[head]
        group = read[:, head * read.shape[1] // 4]
        cosine = torch.cosine_similarity(own, group, dim=1)
        np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_shared_values_are_the_same_matrices_as_copies_of_them():
    for head in ("0.1", "2.3"):
        for circuit in (measures.ov_circuit, measures.qk_circuit):
            ours, theirs = (circuit(model, head).AB for model in (bridge("Llama with groups"), ungrouped()))
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


# Copying


@pytest.mark.parametrize("family", FAMILIES)
def test_the_copying_score_is_that_of_the_matrix_over_the_vocabulary(family):
    model = bridge(family)
    scores = measures.copying_scores(model)
    embedding = model.W_E.detach()
    for layer, head in ((0, 1), (3, 2)):
        whole = (embedding @ measures.ov_circuit(model, (layer, head)).AB @ unembedding(model)).double()
        values = torch.linalg.eigvals(whole)
        expected = float(values.real.sum() / values.abs().sum())
        assert float(scores.sel(layer=layer, head=head)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "Gemma-2"])
def test_tokens_can_go_through_layers_before_they_are_copied(family):
    model = bridge(family)
    every = torch.arange(VOCABULARY)[:, None]
    after = forward(model, every, capture=["blocks.0.hook_resid_post"])["blocks.0.hook_resid_post"][:, 0]
    whole = (after @ measures.ov_circuit(model, (2, 1)).AB @ unembedding(model)).double()
    values = torch.linalg.eigvals(whole)
    scores = measures.copying_scores(model, layers=1)
    expected = float(values.real.sum() / values.abs().sum())
    assert float(scores.sel(layer=2, head=1)) == pytest.approx(expected, abs=1e-3)
    assert abs(float(scores.sel(layer=2, head=1)) - float(measures.copying_scores(model).sel(layer=2, head=1))) > 1e-3


def copier(sign: float):
    """Make head 0 of layer 2 write what it attends to, as the unembedding reads it."""
    model = tiny_bridge()
    with torch.no_grad():
        square, _ = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(5)))
        model.unembed.weight.zero_()
        model.unembed.weight[:32].copy_(square)
        model.embed.weight[:32].copy_(square * 50)
        model.blocks[2].attn.v.weight[:8].copy_(square[:8])
        out = model.blocks[2].attn.o.weight
        out.zero_()
        out[:, :8] = sign * square[:8].T
    return model


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_head_built_to_copy_copies_and_one_built_to_suppress_suppresses(sign):
    model = copier(sign)
    prompts = torch.arange(8).reshape(2, 4)
    rates = measures.copying_rates(model, prompts, {"A": [1, 2], "B": [3, 3]}, heads=["2.0", (1, 1)], top=1)
    assert (float(rates.copies[2, 0]), float(rates.suppresses[2, 0])) == ((1, 0) if sign > 0 else (0, 1))
    assert float(measures.copying_scores(model).sel(layer=2, head=0)) * sign > 0.9
    assert rates.copies.isnull().sum() == 12 - 2 and rates.attrs["tokens"] == 4


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "Gemma-2", "OPT"])
def test_copying_rates_are_those_of_the_definition(family):
    model, prompts, top = bridge(family), ids(6), 20
    places = {"A": [1, 2, 3], "B": [0, 5, 6]}
    rates = measures.copying_rates(model, prompts, places, top=top)
    stream = forward(model, prompts, capture=["blocks.0.hook_resid_post"])["blocks.0.hook_resid_post"]
    layer, head = 3, 2
    attn, hits = model.blocks[layer].attn, []
    with torch.no_grad():
        for row in range(3):
            for place in (places["A"][row], places["B"][row]):
                group = head * attn.W_V.shape[0] // 4
                value = model.blocks[layer].ln1(stream[row : row + 1, place]) @ attn.W_V[group]
                value = value if attn.b_V is None else value + attn.b_V[group]
                out = value @ attn.W_O[head]
                out = model.blocks[layer].ln1_post(out) if hasattr(model.blocks[layer], "ln1_post") else out
                logits = model.unembed(model.ln_final(out[None]))[0, 0]
                hits.append(int(prompts[row, place]) in logits.topk(top).indices.tolist())
    assert float(rates.copies.sel(layer=layer, head=head)) == pytest.approx(np.mean(hits))


# Attention by named position


@pytest.mark.parametrize("seed", SEEDS)
def test_attention_to_named_positions_is_that_of_the_pattern_and_adds_up_to_one(tiny, seed):
    prompts, places = ids(seed), {"A": [1, 2, 3], "B": [4, 3, 2], "END": [6, 6, 5]}
    paid = measures.attention_to_positions(tiny, prompts, places)
    pattern = measures.attention(tiny, prompts)
    assert paid.dims == ("prompt", "layer", "head", "key")
    assert list(paid.key.values) == ["A", "B", "END", "first token", "elsewhere"]
    for row, end in enumerate(places["END"]):
        own = pattern.isel(prompt=row, query=end)
        for name in places:
            np.testing.assert_allclose(paid.isel(prompt=row).sel(key=name), own.isel(key=places[name][row]), atol=1e-6)
        np.testing.assert_allclose(paid.isel(prompt=row).sel(key="first token"), own.isel(key=0), atol=1e-6)
    np.testing.assert_allclose(paid.sum("key"), 1, atol=1e-5)


def test_a_name_on_the_first_token_counts_there_and_the_query_can_be_another(tiny):
    paid = measures.attention_to_positions(
        tiny, ids(0), {"A": [0, 1, 0], "B": [5, 4, 3]}, query="B", keys="A", layers=[2]
    )
    assert paid.sel(key="first token").isnull().all(("layer", "head")).values.tolist() == [True, False, True]
    np.testing.assert_allclose(paid.sum("key"), 1, atol=1e-5)
    pattern = measures.attention(tiny, ids(0), layers=2)
    np.testing.assert_allclose(paid.isel(prompt=2).sel(key="A")[0], pattern[2, 0, :, 3, 0], atol=1e-6)


def test_attention_shows_what_an_edit_of_the_pattern_made_of_it(tiny):
    def force(pattern):
        pattern[:, 1, -1] = 0
        pattern[:, 1, -1, 2] = 1

    places = {"A": [2, 2, 2], "END": [6, 6, 6]}
    paid = measures.attention_to_positions(tiny, ids(0), places, edit={"blocks.1.attn.hook_pattern": force})
    assert (paid.sel(layer=1, head=1, key="A") == 1).all() and (paid.sel(layer=1, head=0, key="A") < 1).all()


def test_one_prompt_has_no_prompt_dimension(tiny):
    assert measures.attention_to_positions(tiny, [1, 2, 3], {"END": [2]}).dims == ("layer", "head", "key")


# Accuracy


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracy_is_argmax_over_the_vocabulary_and_among_candidates(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(40, 6, generator=generator)
    among = torch.stack([torch.randperm(6, generator=generator)[:3] for _ in range(40)])
    right, near = measures.accuracy(logits, among[:, 0]), measures.accuracy(logits, among[:, 0], among=among)
    assert right.values.tolist() == (logits.argmax(1) == among[:, 0]).float().tolist()
    assert near.values.tolist() == (logits.gather(1, among).argmax(1) == 0).float().tolist()
    assert (right <= near).all() and right.dims == ("prompt",) and (right.among, near.among) == (6, 3)


def test_an_answer_that_shares_the_first_place_is_not_right():
    assert measures.accuracy(torch.zeros(1, 3), torch.tensor([0])).item() == 0


# What does not fit


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m: measures.ov_circuit(m, "3.0"), HookError, "does not exist"),
        (lambda m: measures.composition_scores(m, "x"), InputError, "'q', 'k' or 'v', got 'x'"),
        (lambda m: measures.copying_scores(m, layers=3), InputError, "from 0 to 2, got 3"),
        (lambda m: measures.copying_rates(m, [1, 2], {"A": [2]}), InputError, "A to be 1 positions from 0 to 1"),
        (lambda m: measures.copying_rates(m, [1, 2], {}), InputError, "at least one named position"),
        (lambda m: measures.copying_rates(m, [1, 2], {"A": [0]}, top=0), InputError, "top to be between 1 and 101"),
        (lambda m: measures.copying_rates(m, [1, 2], {"A": [0]}, heads="9.9"), HookError, "does not exist"),
        (lambda m: measures.attention_to_positions(m, [1, 2], {"A": [0]}), InputError, "no position 'END'"),
        (lambda m: measures.attention_to_positions(m, [1, 2], {"END": [1], "A": [1]}), InputError, "END and A are the"),
        (lambda m: measures.attention_to_positions(m, [1, 2], {"END": [1, 1]}), InputError, "END to be 1 positions"),
        (lambda m: measures.accuracy(torch.zeros(2, 3, 4), torch.tensor([0, 1])), ArrayError, "run.logits"),
        (lambda m: measures.accuracy(torch.full((1, 3), torch.nan), torch.tensor([0])), ArrayError, "without NaN"),
        (
            lambda m: measures.accuracy(torch.zeros(1, 3), torch.tensor([0]), among=torch.tensor([[1, 2]])),
            InputError,
            "of which one is the answer",
        ),
    ],
)
def test_what_does_not_fit_is_explained(tiny, call, error, said):
    with pytest.raises(error, match=said):
        call(tiny)
