"""What a network for in-context classification is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbtools.errors import InputError

if TYPE_CHECKING:
    from nbtools.training.in_context import InContext

__all__ = ["ClassifierConfig"]

_MAY_BE_0 = ("hidden", "layers", "weight_scale")


@dataclass(frozen=True)
class ClassifierConfig:
    """The sizes of a network for in-context classification.

    Attributes
    ----------
    places, dimensions
        Numbers of a token that say where it stands, and what stands there, as in `InContext`.
    labels
        Labels to choose from.
    layers
        Attention layers, of one head each, without layer norm and without scaling of scores; 0 for the induction head
        of two parameters, `MinimalInduction`.
    d_mlp, hidden
        Width and number of the layers of the classifier that reads the last position.
    weight_scale
        Standard deviation of the matrices of attention, times the square root of ``d_model``.
    """

    places: int = 33
    dimensions: int = 31
    labels: int = 32
    layers: int = 2
    d_mlp: int = 64
    hidden: int = 3
    weight_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            whole = name != "weight_scale"
            if isinstance(value, bool) or (whole and not isinstance(value, int)) or value < (name not in _MAY_BE_0):
                msg = f"expected {name} to be a {'positive whole' if whole else 'positive'} number, got {value!r}"
                raise InputError(msg)

    @property
    def d_model(self) -> int:
        """Numbers in a token."""
        return self.places + self.dimensions

    @property
    def summary(self) -> str:
        """The network in a few words."""
        return f"{self.layers} layers" if self.layers else "two parameters"

    def check(self, data: InContext) -> None:
        """Raise an InputError if the network does not read such data."""
        found = {"places": data.places, "dimensions": data.class_vectors.shape[1], "labels": len(data.label_vectors)}
        wrong = [f"{name}={value}" for name, value in found.items() if getattr(self, name) != value]
        if wrong:
            msg = (
                f"the data has {', '.join(f'{name}={value}' for name, value in found.items())}: set {', '.join(wrong)}"
            )
            raise InputError(msg)
