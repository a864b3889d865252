"""Norms as what they are once their scale is known: a gain, perhaps centring, and a bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["FrozenNorm"]

_ROUNDING = 1e-2  # of the gain: a norm that makes less than that of a constant stream takes its mean away


@dataclass(frozen=True)
class FrozenNorm:
    """A norm but for its division: it gives ``scale * gain * x + bias`` of a stream x, perhaps without its mean.

    Attributes
    ----------
    norm
        The norm itself; None where the architecture has none.
    gain, bias
        One number for each coordinate of the stream.
    centred
        Whether the mean of the stream is taken away.
    """

    norm: Callable[[Tensor], Tensor] | None
    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centred: bool

    @classmethod
    def of(cls, norm: Callable[[Tensor], Tensor] | None, like: Float[Tensor, "any d_model"]) -> FrozenNorm:
        """Learn what a norm does by trying it, whatever its architecture calls its weights.

        Parameters
        ----------
        like
            A tensor of the width, type and device of what the norm reads.
        """
        flat = torch.ones_like(like[:1])
        if norm is None:
            return cls(None, flat[0].double(), torch.zeros_like(flat[0]).double(), centred=False)
        signs = flat.clone()
        signs[:, 1::2] = -1  # mean 0 and mean square 1: divided by one
        with torch.no_grad():
            of_flat, of_signs, bias = (norm(stream)[0].double() for stream in (flat, signs, torch.zeros_like(flat)))
        gain = (of_signs - bias) * signs[0]
        return cls(norm, gain, bias, centred=bool((of_flat - bias).norm() < _ROUNDING * gain.norm()))

    def into(self, reading: Float[Tensor, "*any d_model other"]) -> Float[Tensor, "*any d_model other"]:
        """Take gain and centring into weights that read what the norm gives."""
        return self._centre(self.gain[:, None].to(reading) * reading, -2)

    def after(self, writing: Float[Tensor, "*any other d_model"]) -> Float[Tensor, "*any other d_model"]:
        """Take gain and centring into weights that write what the norm reads."""
        return self.gain.to(writing) * self._centre(writing, -1)

    def back(
        self, stream: Float[Tensor, "prompt d_model"], direction: Float[Tensor, "prompt d_model"]
    ) -> Float[Tensor, "prompt d_model"]:
        """Turn directions that read what the norm gives into those that read the stream, its scale held."""
        if self.norm is None:
            return direction
        plain = self.after(stream.double())
        given = self.norm(stream).double() - self.bias
        scale = (given * plain).sum(-1, keepdim=True) / plain.square().sum(-1, keepdim=True)
        return scale * self._centre(self.gain * direction, -1)

    def _centre(self, values: Tensor, dim: int) -> Tensor:
        return values - values.mean(dim, keepdim=True) if self.centred else values
