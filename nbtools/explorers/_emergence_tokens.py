"""What a small transformer does with one sequence of tokens, and where an induction head would look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from nbtools.errors import InputError
from nbtools.explorers._training_variants import heads_of
from nbtools.naming import visible
from nbtools.training import MarkovRepeats

if TYPE_CHECKING:
    from torch import Tensor

    from nbtools.training import TinyTransformer, Trajectory
    from nbtools.training.progress import Tokens

__all__ = ["TokenLooks", "about_token", "source_of"]

_TOKENS, _SEQUENCES, _SEED = 32, 128, 2_000_003
_KINDS = {
    "random": "random tokens, written twice: only the first time says what comes the second",
    "repeated": "drawn from the chain, and written again",
    "novel": "drawn from the chain, and not written again",
    "train": "as the model is trained",
}


class TokenLooks:
    """Some sequences of each kind, and what a model does with one of them.

    Attributes
    ----------
    kinds
        What there is of each kind of sequences.
    count
        How many sequences there are of each.
    layers
        Whose attention is looked at: the first and the last that have some, or the only one.
    heads
        Their labels, those of each of these layers.
    """

    count = _SEQUENCES

    def __init__(self, run: Trajectory) -> None:
        labels = heads_of(run.config)
        if not labels:
            msg = "expected a model with attention, whose heads can be watched, got one without: set attention="
            raise InputError(msg)
        known = sorted({int(label.split(".")[0]) for label in labels})
        self.layers = sorted({known[0], known[-1]})
        self.heads = tuple([label for label in labels if int(label.split(".")[0]) == layer] for layer in self.layers)
        self._data = run.data
        self._ids = _drawn(run.data, min(run.config.length, _TOKENS))
        self.kinds = {kind: _KINDS[kind] for kind in self._ids}

    def look(self, model: TinyTransformer, kind: str, example: int) -> xr.Dataset:
        """Give the attention of a model on one sequence, and what it expects after each token."""
        whole = self._ids[kind][example : example + 1]
        ids = whole[:, :-1]
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in self.layers]
        with torch.no_grad():
            logits, cache = model.run_with_cache(ids, names_filter=names)
        dims = ("head", "query", "key")
        patterns = [cache[name][0].numpy() for name in names]
        found = {"last": (dims, patterns[-1])} | ({"first": (dims, patterns[0])} if len(names) > 1 else {})
        labels = self._data.labels
        texts = [labels[token] for token in ids[0]]
        coords = {
            "query_token": ("query", texts),
            "key_token": ("key", texts),
            "token": [*labels],
            "next": ("query", whole[0, 1:].numpy()),
            "known": ("query", self._known(ids)),
            "source": ("query", _sources(ids[0])),
        }
        found["probability"] = (("query", "token"), logits[0].softmax(-1).numpy())
        return xr.Dataset(found, coords)

    def length(self, kind: str) -> int:
        """Give how many positions there are to ask about."""
        return self._ids[kind].shape[1] - 1

    def asked(self, kind: str, example: int) -> int:
        """Give the position in the middle of those whose next token can be known, or else the last of all."""
        known = np.flatnonzero(self._known(self._ids[kind][example : example + 1, :-1]))
        return int(known[len(known) // 2]) if known.size else self.length(kind) - 1

    def _known(self, ids: Tensor) -> np.ndarray:
        """Mark the positions of one sequence whose next token can be known from what came before."""
        return next(iter(self._data.domains(ids).values()))[0].numpy()

    def telling(self, found: xr.Dataset) -> list[str]:
        """Give the head of each layer to look at: the last one's finds the token that came after the same one before.

        In the layer before it is the head that looks most at the token before.
        """
        induction = found["last"].values[:, np.arange(found.sizes["query"]), found.source.values.clip(0)]
        chosen = [(induction * (found.source.values > 0)).sum(1).argmax()]
        if "first" in found:
            chosen.insert(0, found["first"].values.diagonal(-1, 1, 2).mean(1).argmax())
        return [labels[at] for labels, at in zip(self.heads, chosen, strict=True)]


def _drawn(data: Tokens, length: int) -> dict[str, Tensor]:
    """Draw sequences of each kind, each with one token more."""
    generator = torch.Generator().manual_seed(_SEED)
    if not isinstance(data, MarkovRepeats):
        return {"train": data.sample(_SEQUENCES, length + 1, generator)}
    shares = {"repeated": 1.0, "novel": 0.0}
    chain = {
        kind: replace(data, repeats=share).sample(_SEQUENCES, length + 1, generator) for kind, share in shares.items()
    }
    try:
        return {"random": data.progress(length).ids} | chain
    except InputError:  # too few tokens to be different, or too short to write them twice
        return chain


def _sources(ids: Tensor) -> np.ndarray:
    """Give for each position the one after the same token's last occurrence before it; −1 where there is none."""
    seen: dict[int, int] = {}
    sources = np.full(len(ids), -1)
    for place, token in enumerate(ids.tolist()):
        sources[place] = seen.get(token, -2) + 1
        seen[token] = place
    return sources


def source_of(found: xr.Dataset, query: int | None) -> int | None:
    """Give where an induction head looks from a position, if the same token was there before."""
    source = -1 if query is None else int(found.source[query])
    return source if source > 0 else None


def about_token(found: xr.Dataset, query: int | None) -> str:
    """Say what the model expects after a token, and whether that comes; or of all that can be known how much is right.

    Without a position it is the share of right answers among those that can be known.
    """
    said = found.probability.values.argmax(1)
    known, nexts = found.known.values, found.next.values
    if query is None:
        share = f"{(said == nexts)[known].sum()} of {known.sum()}"
        return f"right about {share} tokens that can be known" if known.any() else "no token can be known"
    texts = [visible(str(text)) for text in found.token.values]
    own, probability = visible(str(found.query_token.values[query])), found.probability.values[query]
    asked = f"after {own} at {query} it expects {texts[said[query]]} with probability {probability[said[query]]:.2f}"
    if said[query] == nexts[query]:
        return f"{asked}: right"
    return f"{asked}: wrong, {texts[nexts[query]]} comes ({probability[nexts[query]]:.2f})"
