"""A small transformer that is trained here, hooked as any other model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint

from nbtools.errors import ArrayError, InputError, PromptError
from nbtools.training._parts import Block, Embedding, Norm, Positions, Unembedding
from nbtools.training.config import TinyConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["TinyTransformer"]


class TinyTransformer(HookedRootModule):
    """A small decoder with learned positions and the hook points of TransformerLens.

    Whatever reads a hooked model reads it: `nbtools.runs.forward`, `nbtools.liveness`, measures and explorers. It has
    no dropout, and is always in eval mode. Besides the usual hook points gated attention has
    ``blocks.L.attn.hook_gate`` ``[prompt, position, head]``.

    Parameters
    ----------
    config
        What it is made of.
    labels
        The text of each token. With it prompts can be text, and views show characters; the first is put before text.
    generator
        Draws the weights; seeded with 0 by default.
    name
        What it is called in results.

    Examples
    --------
    >>> model = TinyTransformer(TinyConfig(vocabulary=3), labels=("<bos>", "a", "b"))
    >>> model.to_tokens("abba").tolist()
    [[0, 1, 2, 2, 1]]
    >>> tuple(model(model.to_tokens("abba")).shape)
    (1, 5, 3)
    """

    def __init__(
        self,
        config: TinyConfig,
        labels: Sequence[str] = (),
        *,
        generator: torch.Generator | None = None,
        name: str = "tiny",
    ) -> None:
        super().__init__()
        if labels and len(labels) != config.vocabulary:
            msg = f"expected a label for each of {config.vocabulary} tokens, got {len(labels)}: set vocabulary="
            raise InputError(msg)
        draw = _drawing(generator or torch.Generator().manual_seed(0))
        self.config, self.labels = config, tuple(labels)
        self.embed, self.hook_embed = Embedding(config, draw), HookPoint()
        self.pos_embed, self.hook_pos_embed = Positions(config, draw), HookPoint()
        self.blocks = nn.ModuleList(Block(config, kind, draw) for kind in config.kinds)
        self.ln_final = Norm(config.d_model) if config.norm else nn.Identity()
        self.unembed = Unembedding(config, draw)
        self.cfg = _described(config, name)
        self.setup()
        self.eval()

    def forward(
        self, ids: Int[Tensor, "prompt position"], *, return_type: str = "logits", stop_at_layer: int | None = None
    ) -> Float[Tensor, "prompt position vocabulary"]:
        """Give the logits at each position; or the stream that enters a layer, counted from the end if negative."""
        if ids.ndim != 2 or ids.shape[1] > self.config.length or return_type != "logits":
            msg = (
                f"expected ids [prompt, position] of at most {self.config.length} tokens and return_type='logits', got "
                f"shape {tuple(ids.shape)} and {return_type!r}"
            )
            raise ArrayError(msg)
        stream, positions = self.hook_embed(self.embed(ids)), self.hook_pos_embed(self.pos_embed(ids))
        if self.config.positions == "stream":
            stream, positions = stream + positions, None
        for block in self.blocks[:stop_at_layer]:
            stream = block(stream, positions)
        return self.unembed(self.ln_final(stream)) if stop_at_layer is None else stream

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast | None:
        """Reads text character by character; None for a model without labels."""
        return _characters(self.labels) if self.labels else None

    def to_tokens(
        self, text: str, *, prepend_bos: bool | None = None, truncate: bool = False
    ) -> Int[Tensor, "1 position"]:
        """Turn text into ids; by default they begin with the first token of the alphabet."""
        unknown = [character for character in text if character not in self.labels]
        if unknown or not self.labels:
            known = "".join(self.labels[1:])
            msg = f"this model knows the characters {known!r}, got {''.join(unknown)!r}: leave it out"
            raise PromptError(msg)
        ids = [self.labels.index(character) for character in text]
        return torch.tensor([ids if prepend_bos is False else [0, *ids]], device=self.cfg.device)

    def _apply(self, change: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> TinyTransformer:
        super()._apply(change, *args, **kwargs)
        self.cfg.device, self.cfg.dtype = str(self.embed.W_E.device), self.embed.W_E.dtype
        return self


def _drawing(generator: torch.Generator) -> Callable[..., nn.Parameter]:
    return lambda *shape, std: nn.Parameter(std * torch.randn(shape, generator=generator))


def _described(config: TinyConfig, name: str) -> TransformerBridgeConfig:
    """Say it as TransformerLens says it, for all who read a model's sizes there."""
    return TransformerBridgeConfig(
        d_model=config.d_model,
        d_head=config.d_head,
        n_layers=config.layers,
        n_ctx=config.length,
        n_heads=config.heads,
        d_vocab=config.vocabulary,
        d_mlp=config.d_mlp or None,
        attn_only=config.d_mlp == 0,
        normalization_type="LN" if config.norm else None,
        act_fn="relu",
        architecture="TinyTransformer",
        model_name=name,
        device="cpu",
    )


def _characters(labels: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """Build a tokenizer of single characters, and one special token before them."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({label: token for token, label in enumerate(labels)}, unk_token=labels[0]))
    words.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    words.decoder = decoders.Fuse()
    words.add_special_tokens([AddedToken(labels[0], special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=labels[0])
