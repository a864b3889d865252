"""Small random models of many families, as TransformerLens hooks them; none has a tokenizer."""

from __future__ import annotations

from functools import cache

import torch

SMALL = {
    "vocab_size": 101, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "max_position_embeddings": 64, "attn_implementation": "eager",
}  # fmt: skip
FAMILIES = {
    "Llama": ("LlamaForCausalLM", {}),
    "Llama with groups": ("LlamaForCausalLM", {"num_key_value_heads": 2}),
    "GPT-2": ("GPT2LMHeadModel", {}),
    "Mistral, sliding window": ("MistralForCausalLM", {"num_key_value_heads": 2, "sliding_window": 4}),
    "Qwen2": ("Qwen2ForCausalLM", {"num_key_value_heads": 2}),
    "Qwen3": ("Qwen3ForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
    "GPT-NeoX": ("GPTNeoXForCausalLM", {}),
    "Gemma-2": (
        "Gemma2ForCausalLM",
        {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8},
    ),
    "Phi-3": ("Phi3ForCausalLM", {"num_key_value_heads": 2, "pad_token_id": 0}),
    "OPT": ("OPTForCausalLM", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "native": ("", {}),
}


@cache
def bridge(name: str):
    """Build a model; the same one each time it is asked for."""
    architecture, options = FAMILIES[name]
    if not architecture:
        return _native()
    return _hooked(_rough(_module(architecture, options)), name)


@cache
def ungrouped():
    """Give "Llama with groups" with a copy of the shared keys and values for each of its query heads."""
    grouped = _rough(_module(*FAMILIES["Llama with groups"]))
    state = grouped.state_dict()
    for name, weight in state.items():
        if "k_proj" in name or "v_proj" in name:
            state[name] = weight.unflatten(0, (2, -1)).repeat_interleave(2, 0).flatten(0, 1)
    module = _module("LlamaForCausalLM", {})
    module.load_state_dict(state)
    return _hooked(module, "Llama, groups undone")


def planted(seed: int, token: int = 7, other: int = 8):
    """Give a random Llama and a direction after its last layer that alone tells two tokens from each other."""
    generator = torch.Generator().manual_seed(seed)
    module = _rough(_module("LlamaForCausalLM", {}))
    direction = torch.nn.functional.normalize(torch.randn(SMALL["hidden_size"], generator=generator), dim=0)
    with torch.no_grad():
        module.model.norm.weight.fill_(1.0)
        module.lm_head.weight.normal_(0, 0.02, generator=generator)
        module.lm_head.weight[token], module.lm_head.weight[other] = 4 * direction, -4 * direction
    return _hooked(module, f"planted {seed}"), direction


def _module(architecture: str, options: dict) -> torch.nn.Module:
    import transformers

    torch.manual_seed(0)
    model_class = getattr(transformers, architecture)
    return model_class(model_class.config_class(**{**SMALL, **options}))


def _hooked(module: torch.nn.Module, name: str):
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    architecture = type(module).__name__
    return build_bridge_from_module(module.eval(), architecture, hf_config=module.config, model_name=name)


def _rough(module: torch.nn.Module) -> torch.nn.Module:
    """Make weights large enough for a patch to matter, and norms that are not all one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module


def _native():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(
        d_model=32, d_head=8, n_heads=4, n_layers=4, n_ctx=64, d_vocab=101, d_mlp=48, normalization_type="LN",
        act_fn="relu", seed=0, model_name="native",
    )  # fmt: skip
    model = TransformerBridge.boot_native(config).eval()
    _rough(model)
    return model
