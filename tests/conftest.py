"""Models that every test can have: small random ones of several families, and the embedded one."""

from __future__ import annotations

import os
import shutil

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

VOCABULARY, CONTEXT = 101, 64


def need(condition: object, what: str) -> None:
    """Skip loudly where something is missing; in CI that is a failure, so that CI never skips by accident."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI needs {what}")
    pytest.skip(f"needs {what}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the browser for last: Playwright keeps an event loop on the main thread until the session ends."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(autouse=True)
def _gpu(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("npx")
    need(found, "Node.js (npx on the PATH)")
    return found


def tiny_bridge(family: str = "llama"):
    """Build a random model with 3 layers, 4 heads and, for Llama, 2 key/value heads; it has no tokenizer."""
    import torch
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    torch.manual_seed(0)
    module, architecture = _module(family)
    return build_bridge_from_module(module.eval(), architecture, hf_config=module.config, model_name=f"tiny-{family}")


def _module(family: str):
    import transformers as hf

    if family == "llama":
        config = hf.LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=CONTEXT, attn_implementation="eager",
        )  # fmt: skip
        return hf.LlamaForCausalLM(config), "LlamaForCausalLM"
    if family == "gpt2":
        config = hf.GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=CONTEXT, attn_implementation="eager"
        )
        return hf.GPT2LMHeadModel(config), "GPT2LMHeadModel"
    config = hf.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=CONTEXT, word_embed_proj_dim=32, attn_implementation="eager",
    )  # fmt: skip
    return hf.OPTForCausalLM(config), "OPTForCausalLM"


@pytest.fixture(scope="session")
def tiny():
    return tiny_bridge()


@pytest.fixture(scope="session")
def tiny_gpt2():
    return tiny_bridge("gpt2")


@pytest.fixture(scope="session")
def tiny_opt():
    return tiny_bridge("opt")


@pytest.fixture(scope="session")
def model():
    """The embedded model; `nbtools fetch` brings it, and tests never ask the network for it."""
    from nbtools import models
    from nbtools.models import embedded

    need(embedded.status().present, "the embedded model: run `nbtools fetch` once")
    return models.load()


def hooks_left(bridge) -> int:
    """Count the hooks on every hook point of a model."""
    return sum(len(point.fwd_hooks) + len(point.bwd_hooks) for point in set(bridge.hook_dict.values()))
