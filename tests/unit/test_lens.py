"""The logit lens is final norm and unembedding of each layer, in order, and leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf

from nbtools.errors import HookError, InputError, ModelError, PromptError
from nbtools.measures import logit_lens, next_token
from nbtools.runs import forward
from tests.conftest import CONTEXT, VOCABULARY, _module, hooks_left, tiny_bridge

IDS = [5, 17, 3, 88, 17]
FAMILIES = ("llama", "gpt2", "opt")


def bridge_of(module, name: str):
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    return build_bridge_from_module(
        module.eval(), type(module).__name__, hf_config=module.config, model_name=f"tiny-{name}"
    )


def soft_capped():
    torch.manual_seed(0)
    config = hf.Gemma2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=CONTEXT, final_logit_softcapping=0.5,
        initializer_range=0.5, attn_implementation="eager",
    )  # fmt: skip
    return bridge_of(hf.Gemma2ForCausalLM(config), "gemma2")


def projected():
    """Build an OPT whose residual stream is projected before it is unembedded."""
    config = hf.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=CONTEXT, word_embed_proj_dim=16, attn_implementation="eager",
    )  # fmt: skip
    return bridge_of(hf.OPTForCausalLM(config), "projected")


def probabilities_of_transformers(plain, norm, prompt: torch.Tensor) -> np.ndarray:
    """Give ``[layer, position, vocabulary]`` as plain transformers has it, beginning with the embedding."""
    streams: list[torch.Tensor] = []
    watch = norm.register_forward_pre_hook(lambda module, inputs: streams.append(inputs[0]))
    with torch.no_grad():
        hidden = plain(prompt, output_hidden_states=True).hidden_states
        watch.remove()
        # the last of transformers' hidden states is already normalised: take what went into the norm
        every = [*hidden[:-1], streams[0]]
        return torch.cat([plain.lm_head(norm(stream)).softmax(-1) for stream in every]).numpy()


def assert_same(lens, expected: np.ndarray, atol: float) -> None:
    """Compare every kept and followed number with the whole distribution."""
    best = -np.sort(-expected, axis=-1)[..., : lens.sizes["rank"]]
    np.testing.assert_allclose(lens.probability, best, atol=atol)
    np.testing.assert_allclose(lens.probability, np.take_along_axis(expected, lens.token_id.values, -1), atol=atol)
    ids = np.broadcast_to(np.nan_to_num(lens.followed_id.values).astype(int), lens.followed_probability.shape)
    followed = np.where(np.isnan(lens.followed_id), np.nan, np.take_along_axis(expected, ids, -1))
    np.testing.assert_allclose(lens.followed_probability, followed, atol=atol)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_what_plain_transformers_computes(family):
    torch.manual_seed(0)
    plain, _ = _module(family)
    norm = {"llama": "model.norm", "gpt2": "transformer.ln_f", "opt": "model.decoder.final_layer_norm"}[family]
    expected = probabilities_of_transformers(plain.eval(), plain.get_submodule(norm), torch.tensor([IDS]))
    assert_same(logit_lens(tiny_bridge(family), IDS, top=VOCABULARY), expected, 1e-6)


@pytest.mark.model
def test_every_layer_of_the_embedded_model_is_what_plain_transformers_computes(model):
    from nbtools.models import embedded

    plain = hf.AutoModelForCausalLM.from_pretrained(embedded.fetch(), dtype=torch.float32, attn_implementation="eager")
    prompt = "The capital of France is"
    expected = probabilities_of_transformers(plain.eval(), plain.model.norm, model.to_tokens(prompt))
    lens = logit_lens(model, prompt)
    assert_same(lens, expected, 1e-4)
    assert (lens.token_id.values[..., 0] == expected.argmax(-1)).mean() > 0.99
    assert lens.token.values[-1, -1, 0] == lens.followed.values[-1, 0] == " Paris"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_says_what_the_model_says(family):
    bridge = tiny_bridge(family)
    lens = logit_lens(bridge, IDS, top=4).sel(layer=2)
    for position in range(len(IDS)):
        own = next_token(bridge, IDS, top=4, position=position)
        np.testing.assert_allclose(lens.probability[position], own, atol=1e-6)
        assert list(lens.token_id.values[position]) == list(own.token_id.values)


def test_what_it_gives_is_labelled(tiny):
    lens = logit_lens(tiny, IDS, top=4, follow=[7, 9, 7])
    assert dict(lens.sizes) == {"layer": 4, "position": 5, "rank": 4, "follow": 3}
    for name in ("token", "token_id", "probability"):
        assert lens[name].dims == ("layer", "position", "rank")
    for name in ("followed", "followed_id"):
        assert lens[name].dims == ("position", "follow")
    for name in ("followed_probability", "followed_rank"):
        assert lens[name].dims == ("layer", "position", "follow")
    assert list(lens.layer.values) == [-1, 0, 1, 2]
    assert list(lens.position_token.values) == [str(token) for token in IDS]
    assert lens.token.dtype == lens.followed.dtype == object
    assert (lens.token.values == lens.token_id.values.astype(str)).all()
    assert lens.probability.dtype == np.float32
    assert lens.attrs == {"model": "tiny-llama", "prompt": "5 17 3 88 17", "units": "probability"}
    assert lens.followed_probability.attrs["units"] == "probability"


def test_ranks_agree_with_sorted_probabilities(tiny):
    lens = logit_lens(tiny, IDS, top=VOCABULARY, follow=range(VOCABULARY))
    assert (lens.probability.diff("rank") <= 0).all()
    np.testing.assert_allclose(lens.probability.sum("rank"), 1, atol=1e-5)
    place = np.argsort(lens.token_id.values, axis=-1)  # where each id stands among the ranks
    np.testing.assert_array_equal(lens.followed_rank, place + 1)


def test_without_follow_every_token_that_is_ever_first_is_followed_latest_first(tiny):
    lens = logit_lens(tiny, IDS, top=1)
    first = lens.token_id.isel(rank=0).values
    counts = []
    for position in range(len(IDS)):
        ids = lens.followed_id.values[position]
        ids = ids[~np.isnan(ids)]
        latest = {int(token): layer for layer, token in enumerate(first[:, position])}
        assert list(ids) == sorted(latest, key=latest.get, reverse=True)
        assert ids[0] == next_token(tiny, IDS, position=position).token_id.values[0]
        counts.append(len(ids))
    assert len(set(counts)) > 1, "this prompt should pad some positions"
    assert lens.sizes["follow"] == max(counts)


def test_positions_that_follow_fewer_tokens_end_in_nan_and_empty_text(tiny):
    lens = logit_lens(tiny, IDS)
    padding = np.isnan(lens.followed_id)
    assert padding.any()
    assert ((lens.followed == "") == padding).all()
    assert (np.isnan(lens.followed_rank) == padding).all()
    assert (np.isnan(lens.followed_probability) == padding).all()


def test_chosen_layers_are_those_of_all_and_the_models_answer_stays_the_first_followed(tiny):
    everything = logit_lens(tiny, IDS)
    some = logit_lens(tiny, IDS, layers=[1, -3])
    assert list(some.layer.values) == [1, 0]
    np.testing.assert_allclose(some.probability, everything.probability.sel(layer=[1, 0]), atol=1e-6)
    assert list(some.followed.isel(follow=0).values) == list(everything.followed.isel(follow=0).values)
    assert list(logit_lens(tiny, IDS, layers=-1).layer.values) == [2]


@pytest.mark.model
def test_tokens_to_follow_may_be_text_or_ids(model):
    prompt = "The capital of France is"
    paris = int(model.to_tokens(" Paris", prepend_bos=False))
    by_text = logit_lens(model, prompt, follow=[" Paris", " Rome"], layers=[20, 29])
    by_id = logit_lens(model, prompt, follow=paris, layers=[20, 29])
    assert list(by_text.followed.values[-1]) == [" Paris", " Rome"]
    assert by_text.followed_rank.sel(layer=29).values[-1, 0] == 1
    assert by_text.followed_rank.sel(layer=29).values[-1, 1] > 1
    np.testing.assert_array_equal(by_text.followed_probability[..., :1], by_id.followed_probability)
    with pytest.raises(InputError, match=r"becomes 2: ' Paris', ' is'"):
        logit_lens(model, prompt, follow=" Paris is")


def test_followed_ids_may_come_from_an_array(tiny):
    lens = logit_lens(tiny, IDS, top=2)
    again = logit_lens(tiny, IDS, follow=lens.token_id.values[-1, -1])
    assert list(again.followed_id.values[0]) == list(lens.token_id.values[-1, -1])


def test_an_edit_shows_from_its_layer_on(tiny):
    def silence(out):
        out[:] = 0

    plain = logit_lens(tiny, IDS)
    edited = logit_lens(tiny, IDS, edit={"blocks.1.hook_mlp_out": silence})
    np.testing.assert_array_equal(edited.probability.sel(layer=[-1, 0]), plain.probability.sel(layer=[-1, 0]))
    for layer in (1, 2):
        assert abs(edited.probability.sel(layer=layer) - plain.probability.sel(layer=layer)).max() > 1e-5
    own = next_token(tiny, IDS, top=5, edit={"blocks.1.hook_mlp_out": silence})
    np.testing.assert_allclose(edited.probability.values[-1, -1], own, atol=1e-6)


def test_soft_capped_logits_are_read_as_the_model_reads_them():
    bridge = soft_capped()
    lens = logit_lens(bridge, IDS, top=3)
    np.testing.assert_allclose(lens.probability.values[-1, -1], next_token(bridge, IDS, top=3), atol=1e-6)
    bridge.cfg.output_logits_soft_cap = -1.0  # the bridge forgets the cap, the model does not
    with pytest.raises(ModelError, match=r"Gemma2ForCausalLM.*off by"):
        logit_lens(bridge, IDS)


def test_a_model_without_a_final_norm_is_read_without_one():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(
        d_model=32, d_head=8, n_layers=2, n_ctx=16, n_heads=4, d_vocab=VOCABULARY, attn_only=True,
        normalization_type=None, seed=0,
    )  # fmt: skip
    bridge = TransformerBridge.boot_native(config).eval()
    lens = logit_lens(bridge, IDS, top=3)
    np.testing.assert_allclose(lens.probability.values[-1, -1], next_token(bridge, IDS, top=3), atol=1e-6)


def test_an_architecture_that_does_more_after_its_last_layer_is_refused():
    with pytest.raises(ModelError, match=r"reads 16 numbers, the residual stream has 32.*next_token"):
        logit_lens(projected(), IDS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_is_read_too(dtype):
    bridge = tiny_bridge().to(dtype)
    lens = logit_lens(bridge, IDS, top=3)
    assert lens.probability.dtype == np.float32
    np.testing.assert_allclose(lens.probability.values[-1, -1], next_token(bridge, IDS, top=3), rtol=0.02)


def test_the_next_run_is_bit_identical_and_no_hook_is_left(tiny):
    clean = forward(tiny, IDS).logits
    logit_lens(tiny, IDS)
    logit_lens(tiny, IDS, edit={"blocks.0.hook_resid_post": lambda stream: stream * 2})
    with pytest.raises(RuntimeError, match="from the user"):
        logit_lens(tiny, IDS, edit={"blocks.0.hook_resid_post": fails})
    assert hooks_left(tiny) == 0
    assert torch.equal(forward(tiny, IDS).logits, clean)


def fails(stream):
    raise RuntimeError("from the user's own function")


def test_logits_of_all_layers_and_positions_are_never_held(tiny):
    held = []

    def watch(logits, hook):
        held.append(logits.shape[0] * logits.shape[1])

    tiny.add_hook("unembed.hook_out", watch)
    try:
        lens = logit_lens(tiny, range(50), top=1)
    finally:
        tiny.reset_hooks()
    assert held[0] == 50  # the model's own
    assert sum(held[1:]) == 4 * 50
    assert max(held[1:]) <= 64
    np.testing.assert_allclose(  # positions read together do not mix
        lens.probability.sel(layer=2, position=37), next_token(tiny, range(50), position=37, top=1), atol=1e-6
    )


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        ({"prompt": [[1, 2], [3, 4]]}, InputError, "expected one prompt, got 2"),
        ({"prompt": []}, PromptError, "at least one"),
        ({"top": 0}, InputError, f"between 1 and {VOCABULARY}, got 0"),
        ({"top": VOCABULARY + 1}, InputError, f"between 1 and {VOCABULARY}"),
        ({"layers": 3}, HookError, "between 0 and 2"),
        ({"layers": []}, HookError, "between 0 and 2"),
        ({"follow": []}, InputError, "at least one token to follow"),
        ({"follow": " Paris"}, InputError, "no tokenizer"),
        ({"follow": [VOCABULARY]}, InputError, f"expected 0 to {VOCABULARY - 1}"),
        ({"follow": [-1]}, InputError, "not in this model's vocabulary"),
        ({"follow": 1.5}, InputError, "whole numbers"),
        ({"follow": [[1, 2]]}, InputError, "becomes 2: '1', '2'"),
        ({"edit": {"blocks.9.hook_out": fails}}, HookError, "layers 0 to 2"),
        ({"edit": {"ln_final.hook_scale": fails}}, HookError, "'ln_final.hook_scale' comes after them"),
        ({"edit": {"hook_unembed": fails}}, HookError, "comes after them"),
    ],
)
def test_bad_input_is_explained(tiny, asked, error, sentence):
    asked = {"prompt": IDS} | asked
    with pytest.raises(error, match=sentence):
        logit_lens(tiny, asked.pop("prompt"), **asked)
    assert hooks_left(tiny) == 0
