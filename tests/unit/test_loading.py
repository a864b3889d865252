"""One line loads a model, whose numbers are those of plain transformers; what cannot be loaded is explained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import nbtools as nb
from nbtools.errors import PromptError, UnknownModelError
from tests.conftest import _module, hooks_left

TEXT = "The Eiffel Tower is in the city of"


@pytest.fixture(scope="module")
def plain():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = nb.models.fetch()
    weights = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return weights.eval(), AutoTokenizer.from_pretrained(folder)


@pytest.mark.model
def test_the_embedded_model_is_ready_for_use(model):
    assert not model.training
    assert hooks_left(model) == 0
    assert repr(nb.describe(model)).startswith(
        "SmolLM2-135M: LlamaForCausalLM, 134.5 M parameters, 30 layers × 9 heads"
    )
    assert nb.describe(model).key_value_heads == 3
    assert "134,515,008" in nb.describe(model)._repr_html_()


@pytest.mark.model
def test_tokens_are_those_of_the_plain_tokenizer(model, plain):
    _, tokenizer = plain
    for text in (TEXT, " leading", "two\nlines", "日本 🙂", "<|im_start|>user", "a" * 50):
        assert nb.models.tokens(model, text).ids[0].tolist() == tokenizer(text).input_ids
        assert model.to_tokens(text)[0].tolist() == tokenizer(text).input_ids


@pytest.mark.model
def test_logits_attentions_and_probabilities_are_those_of_plain_transformers(model, plain):
    weights, tokenizer = plain
    for text in (TEXT, "When Mary and John went to the store, John gave a drink to", "x"):
        ids = torch.tensor([tokenizer(text).input_ids])
        with torch.no_grad():
            expected = weights(ids, output_attentions=True)
        torch.testing.assert_close(nb.runs.forward(model, text).logits, expected.logits, atol=1e-4, rtol=0)
        pattern = nb.measures.attention(model, text)
        np.testing.assert_allclose(pattern, torch.cat(expected.attentions).numpy(), atol=1e-4)
        probability = expected.logits[0, -1].softmax(-1)
        top = nb.measures.next_token(model, text, top=5)
        np.testing.assert_allclose(top, probability.topk(5).values, atol=1e-4)
        assert top.token_id.values.tolist() == probability.topk(5).indices.tolist()


@pytest.mark.model
def test_surprise_is_the_loss_of_plain_transformers(model, plain):
    weights, tokenizer = plain
    ids = torch.tensor([tokenizer(TEXT).input_ids])
    with torch.no_grad():
        loss = float(weights(ids, labels=ids).loss)
    assert float(nb.measures.surprise(model, TEXT).mean()) == pytest.approx(loss, abs=1e-4)


@pytest.mark.model
def test_labels_spell_the_text_and_show_broken_characters_as_bytes(model):
    assert "".join(nb.models.tokens(model, TEXT).labels[0]) == TEXT
    assert nb.models.tokens(model, "日本").labels[0][:2] == ["\\xe6\\x97", "\\xa5"]
    assert repr(nb.models.tokens(model, "a b\n")) == "Tokens(prompts=1, positions=3: a ·b ↵)"


@pytest.mark.model
def test_prompts_that_do_not_fit_are_explained(model):
    with pytest.raises(PromptError, match="the prompt is empty"):
        nb.models.tokens(model, "")
    with pytest.raises(PromptError, match=r"same number of tokens, got \[1, 2\]"):
        nb.models.tokens(model, ["one", "one two"])
    with pytest.raises(PromptError, match="at most 8192"):
        nb.models.tokens(model, "word " * 9000)


def saved(folder, family="gpt2"):
    torch.manual_seed(0)
    module, _ = _module(family)
    module.save_pretrained(folder)
    return module.eval()


def test_a_folder_loads_without_a_tokenizer(tmp_path):
    module = saved(tmp_path / "mine")
    bridge = nb.load(tmp_path / "mine")
    with torch.no_grad():
        expected = module(torch.tensor([[1, 2, 3]])).logits
    torch.testing.assert_close(nb.runs.forward(bridge, [1, 2, 3]).logits, expected, atol=1e-5, rtol=0)
    assert bridge.cfg.model_name == "mine"
    with pytest.raises(PromptError, match="no tokenizer"):
        nb.runs.forward(bridge, "text")


def test_a_folder_loads_in_another_precision_and_on_another_device_name(tmp_path):
    saved(tmp_path / "mine")
    bridge = nb.load(str(tmp_path / "mine"), dtype=torch.bfloat16, device="cpu")
    assert nb.describe(bridge).dtype == "bfloat16"


def test_bfloat16_checkpoints_are_read_as_float32_where_that_fits(tmp_path):
    module = saved(tmp_path / "mine").to(torch.bfloat16)
    module.save_pretrained(tmp_path / "half")
    assert nb.describe(nb.load(tmp_path / "half")).dtype == "float32"


def test_a_checkpoint_too_large_for_float32_keeps_its_own_precision(tmp_path, monkeypatch):
    saved(tmp_path / "mine").to(torch.bfloat16).save_pretrained(tmp_path / "half")
    monkeypatch.setattr("nbtools.models.loading._free_bytes", lambda device: 1000)
    assert nb.describe(nb.load(tmp_path / "half")).dtype == "bfloat16"


def test_a_pickle_is_never_loaded(tmp_path):
    folder = tmp_path / "pickled"
    module = saved(folder)
    (folder / "model.safetensors").unlink()
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises((UnknownModelError, nb.errors.ModelError), match="safetensors"):
        nb.load(folder)


@pytest.mark.parametrize("name", ["gtp2", "nobody/nothing"])
def test_an_unknown_name_is_explained(name):
    with pytest.raises(UnknownModelError, match=f"no model '{name}'.*HF_HUB_OFFLINE is set.*nbtools models"):
        nb.load(name)


def test_a_misspelt_name_is_answered_with_its_neighbours():
    with pytest.raises(UnknownModelError, match=r"Did you mean .*gpt2"):
        nb.load("gtp2")


def test_a_folder_without_a_model_is_explained(tmp_path):
    with pytest.raises(UnknownModelError, match=r"expected a folder with config\.json"):
        nb.load(tmp_path)
    with pytest.raises(UnknownModelError, match="not a model folder"):
        nb.load("./does/not/exist")


def test_an_architecture_that_cannot_be_hooked_is_explained(tmp_path):
    saved(tmp_path / "mine")
    path = tmp_path / "mine" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "unheard_of"}))
    with pytest.raises(nb.errors.ModelError, match="mine"):
        nb.load(tmp_path / "mine")


def test_a_step_of_a_training_in_a_folder_loads(tmp_path):
    for step in (5, 500, 1000):
        module = saved(tmp_path / f"checkpoint-{step}")
    bridge = nb.load(tmp_path, checkpoint=500)
    with torch.no_grad():
        expected = module(torch.tensor([[1, 2, 3]])).logits
    torch.testing.assert_close(nb.runs.forward(bridge, [1, 2, 3]).logits, expected, atol=1e-5, rtol=0)
    assert bridge.cfg.model_name == f"{tmp_path.name} at checkpoint-500"
    assert nb.load(tmp_path, checkpoint="checkpoint-5").cfg.model_name.endswith("at checkpoint-5")
    with pytest.raises(UnknownModelError, match=r"checkpoint-7.*checkpoint-5, checkpoint-500, checkpoint-1000"):
        nb.load(tmp_path, checkpoint=7)


def test_a_branch_of_a_hugging_face_name_loads(tmp_path, monkeypatch):
    """Two branches in a cache as huggingface_hub writes it: a name for the commit, and the files of each commit."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--somebody--neox"
    (repository / "refs").mkdir(parents=True)
    for at, step in enumerate(("step0", "step3000")):
        (repository / "refs" / step).write_text(str(at) * 40)
        torch.manual_seed(at)
        module, _ = _module("neox")
        module.save_pretrained(repository / "snapshots" / (str(at) * 40))
    bridge = nb.load("somebody/neox", checkpoint=3000)
    with torch.no_grad():
        expected = module.eval()(torch.tensor([[1, 2, 3]])).logits
    torch.testing.assert_close(nb.runs.forward(bridge, [1, 2, 3]).logits, expected, atol=1e-5, rtol=0)
    assert bridge.cfg.model_name == "somebody/neox at step3000"
    with pytest.raises(UnknownModelError, match="no model 'somebody/neox, branch step7'"):
        nb.load("somebody/neox", checkpoint=7)


@pytest.mark.gpu
@pytest.mark.model
def test_cuda_gives_the_numbers_of_the_cpu(model):
    there = nb.load(device="cuda")
    assert nb.describe(there).device.startswith("cuda")
    expected = nb.runs.forward(model, TEXT).logits
    torch.testing.assert_close(nb.runs.forward(there, TEXT).logits.cpu(), expected, atol=5e-3, rtol=0)
    np.testing.assert_allclose(nb.measures.attention(there, TEXT), nb.measures.attention(model, TEXT), atol=1e-3)
