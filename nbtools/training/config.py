"""What a small transformer is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nbtools.errors import InputError

__all__ = ["ATTENTION", "TinyConfig"]

ATTENTION: dict[str, str] = {
    "softmax": "shares of attention add up to 1",
    "relu": "positive scores over the number of keys, no softmax: a head can look nowhere",
    "clipped": "softmax stretched and cut off at 0 and 1: small shares become nothing",
    "gated": "softmax, and a gate by which a head can be silent",
    "none": "a layer without attention",
}
_WHOLE = ("layers", "heads", "d_model", "d_head", "length", "vocabulary")


@dataclass(frozen=True)
class TinyConfig:
    """The sizes of a small decoder, what its attention does, and how its weights begin.

    Attributes
    ----------
    layers, heads, d_model, d_head
        Sizes, as everywhere.
    d_mlp
        Neurons of each MLP (ReLU, no biases); 0 for a model of attention only.
    length
        The most tokens it reads.
    vocabulary
        The number of its tokens.
    attention
        One of `ATTENTION`, or one for each layer: ``("none", "softmax", "none")`` has it in the middle alone.
    positions
        Where positions are added: ``"stream"``, to the embedding, or ``"attention"``, to what queries and keys read in
        each layer, so that values and the stream hold none (Press et al., "Shortformer", 2021).
    norm
        Whether layer norms stand before attention, MLP and unembedding.
    embedding_scale, weight_scale
        Standard deviations: of embeddings, and of other matrices times the square root of the numbers they read.
    gamma, zeta
        Of clipped attention: ``clip((zeta - gamma) * softmax + gamma, 0, 1)``.
    open_share
        How far the gates of gated attention are open at first.

    Examples
    --------
    >>> TinyConfig(layers=3, attention=("none", "softmax", "none")).kinds
    ('none', 'softmax', 'none')
    """

    layers: int = 1
    heads: int = 1
    d_model: int = 64
    d_head: int = 64
    d_mlp: int = 256
    length: int = 64
    vocabulary: int = 64
    attention: str | tuple[str, ...] = "softmax"
    positions: str = "stream"
    norm: bool = True
    embedding_scale: float = 1.0
    weight_scale: float = 0.577
    gamma: float = -0.025
    zeta: float = 1.0
    open_share: float = 0.25

    def __post_init__(self) -> None:
        if not isinstance(self.attention, str):
            object.__setattr__(self, "attention", tuple(self.attention))
        wrong = [name for name in _WHOLE if not _whole(getattr(self, name), least=1)]
        wrong += [] if _whole(self.d_mlp, least=0) else ["d_mlp"]
        if wrong:
            got = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            msg = f"expected whole numbers from 1 (d_mlp from 0), got {got}"
            raise InputError(msg)
        _check_kinds(self.kinds, self.layers)
        if self.positions not in ("stream", "attention"):
            msg = f"expected positions='stream' or 'attention', got {self.positions!r}"
            raise InputError(msg)
        if not 0 < self.open_share < 1 or not self.gamma <= 0 < self.zeta:
            msg = (
                "expected open_share between 0 and 1, gamma at most 0 and zeta above 0, got "
                f"open_share={self.open_share}, gamma={self.gamma}, zeta={self.zeta}"
            )
            raise InputError(msg)

    @property
    def summary(self) -> str:
        """The model in a few words."""
        return f"{_count(self.layers, 'layer')} x {_count(self.heads, 'head')}, {'/'.join(dict.fromkeys(self.kinds))}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the attention of each layer is."""
        return (self.attention,) * self.layers if isinstance(self.attention, str) else self.attention


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_kinds(kinds: Sequence[str], layers: int) -> None:
    unknown = [kind for kind in kinds if kind not in ATTENTION]
    if unknown:
        msg = f"unknown attention {unknown[0]!r}: expected one of {', '.join(ATTENTION)}, or one for each layer"
        raise InputError(msg)
    if len(kinds) != layers:
        msg = f"expected attention for each of {layers} layers, got {len(kinds)}: {', '.join(kinds)}"
        raise InputError(msg)
