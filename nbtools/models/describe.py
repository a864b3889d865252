"""The facts of a hooked model that one needs before looking inside."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Description", "describe", "n_key_value_heads"]


@dataclass(frozen=True)
class Description:
    """What a model is made of; shown as a small table."""

    name: str
    architecture: str
    layers: int
    heads: int
    key_value_heads: int
    d_model: int
    d_head: int
    d_mlp: int | None
    vocabulary: int
    context: int
    parameters: int
    device: str
    dtype: str

    def __repr__(self) -> str:
        return (
            f"{self.name}: {self.architecture}, {self.parameters / 1e6:.1f} M parameters, {self.layers} layers × "
            f"{self.heads} heads, d_model {self.d_model}, {self.dtype} on {self.device}"
        )

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><th style='text-align:left'>{field.name.replace('_', ' ')}</th>"
            f"<td style='text-align:left'>{escape(self._shown(field.name))}</td></tr>"
            for field in fields(self)
        )
        return f"<table><tbody>{rows}</tbody></table>"

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        return f"{value:,}" if isinstance(value, int) else str(value)


def describe(model: TransformerBridge) -> Description:
    """Give the sizes of a hooked model, where it lives and in which precision.

    Examples
    --------
    >>> describe(load())
    SmolLM2-135M: LlamaForCausalLM, 134.5 M parameters, 30 layers × 9 heads, d_model 576, float32 on cpu
    """
    cfg = model.cfg
    return Description(
        name=str(cfg.model_name),
        architecture=str(cfg.architecture),
        layers=cfg.n_layers,
        heads=cfg.n_heads,
        key_value_heads=n_key_value_heads(model),
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        d_mlp=cfg.d_mlp,
        vocabulary=cfg.d_vocab,
        context=cfg.n_ctx,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        device=str(cfg.device),
        dtype=str(cfg.dtype).removeprefix("torch."),
    )


def n_key_value_heads(model: TransformerBridge) -> int:
    """Count the key/value heads; with grouped-query attention there are fewer than query heads."""
    return model.cfg.n_key_value_heads or model.cfg.n_heads
