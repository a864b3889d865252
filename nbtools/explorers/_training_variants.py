"""The small models that the training explorer offers: what each is made of, and how it is trained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtools.errors import InputError
from nbtools.training import ATTENTION, TinyConfig, Training
from nbtools.views.options import refuse_unknown

if TYPE_CHECKING:
    from nbtools.training.progress import Data

__all__ = ["VARIANTS", "Variants", "described", "heads_of", "read_variants"]

Variants: TypeAlias = "Mapping[str, tuple[TinyConfig, Mapping[str, Any]]]"

VARIANTS: Variants = MappingProxyType(
    {
        "softmax": (TinyConfig(), {}),
        "relu": (TinyConfig(attention="relu"), {}),
        "clipped": (TinyConfig(attention="clipped", gamma=-12 / 64), {}),
        "gated": (TinyConfig(attention="gated"), {}),
        "sgd": (TinyConfig(), {"optimizer": "sgd"}),
        "attention only": (TinyConfig(d_mlp=0), {}),
        "three layers": (TinyConfig(layers=3, attention=("none", "softmax", "none")), {}),
    }
)
"""By name a model, and the options of `nbtools.training.Training` that it is trained with."""

_GIVEN = "given"  # a config that is none of the variants
_OWN = ("steps", "seed", "cancel")  # options that the explorer sets


def read_variants(config: TinyConfig | str | None, variants: Variants | None, data: Data) -> tuple[Variants, str]:
    """Give all variants, and the name of the one that is asked for.

    Raises
    ------
    InputError
        If there is no such variant, or what is given is none.
    """
    known = dict(_fitting(data) if variants is None else variants)
    if not known and not isinstance(config, TinyConfig):
        msg = "expected at least one variant, or a TinyConfig, got none"
        raise InputError(msg)
    for name, variant in known.items():
        _check(name, variant)
    if isinstance(config, TinyConfig):
        same = [name for name, variant in known.items() if variant == (config, {})]
        return (known, same[0]) if same else ({_GIVEN: (config, {}), **known}, _GIVEN)
    name = next(iter(known)) if config is None else config
    if name not in known:
        msg = f"no variant {name!r}: expected one of {', '.join(known)}, or a TinyConfig"
        raise InputError(msg)
    return known, name


def _fitting(data: Data) -> Variants:
    """Give the usual variants with as many tokens as the data have."""
    tokens = len(data.labels)
    return {name: (replace(config, vocabulary=tokens), options) for name, (config, options) in VARIANTS.items()}


def _check(name: str, variant: Any) -> None:
    if not (isinstance(variant, tuple) and len(variant) == 2 and isinstance(variant[0], TinyConfig)):
        msg = f"expected variant {name!r} as a TinyConfig and a mapping of options, got {variant!r}"
        raise InputError(msg)
    parameters = inspect.signature(Training).parameters.values()
    options = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.name not in _OWN]
    refuse_unknown(f"variant {name!r}", variant[1], known=options)


def heads_of(config: TinyConfig) -> list[str]:
    """Name the heads of the layers that have attention.

    Examples
    --------
    >>> heads_of(TinyConfig(layers=3, heads=2, attention=("none", "softmax", "none")))
    ['1.0', '1.1']
    """
    layers = [layer for layer, kind in enumerate(config.kinds) if kind != "none"]
    return [f"{layer}.{head}" for layer in layers for head in range(config.heads)]


def described(config: TinyConfig, options: Mapping[str, Any]) -> str:
    """Say what a variant is.

    Examples
    --------
    >>> described(*VARIANTS["sgd"])
    '1 layer, 1 head, width 64, MLP 256 · softmax: shares of attention add up to 1 · sgd'
    """
    sizes = f"{_count(config.layers, 'layer')}, {_count(config.heads, 'head')}, width {config.d_model}"
    mlp = f"MLP {config.d_mlp}" if config.d_mlp else "no MLP"
    gamma = f" (gamma {config.gamma:g})".replace("-", "−")
    names = {kind: kind + gamma * (kind == "clipped") for kind in config.kinds if kind != "none"}
    kinds = " · ".join(f"{name}: {ATTENTION[kind]}" for kind, name in names.items())
    how = " ".join([str(options.get("optimizer", "adamw")), *(_option(*each) for each in options.items())]).strip()
    return " · ".join(part for part in (f"{sizes}, {mlp}", kinds, how) if part)


def _option(name: str, value: Any) -> str:
    return f"{name} {value}" if isinstance(value, int | float) else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
