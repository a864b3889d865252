"""Any model TransformerLens can boot, in one line."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nbtools.errors import ModelError, UnknownModelError
from nbtools.models import embedded
from nbtools.models._quiet import quiet

if TYPE_CHECKING:
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

__all__ = ["EMBEDDED", "load"]

EMBEDDED = "SmolLM2-135M"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
_HEADROOM = 0.7  # share of the free memory that float32 weights may take


def load(
    name: str | Path = EMBEDDED,
    *,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
) -> TransformerBridge:
    """Load a hooked model, ready to be looked into, in eval mode.

    Parameters
    ----------
    name
        ``"SmolLM2-135M"``, the embedded model, which works offline after its first fetch;
        a folder written by ``save_pretrained``; or a Hugging Face name such as ``"gpt2"``.
    device
        By default CUDA where there is one, otherwise the CPU. MPS only where TransformerLens
        allows it (``TRANSFORMERLENS_ALLOW_MPS=1``): it has been silently wrong there.
    dtype
        By default float32, so that numbers can be compared; the checkpoint's own precision where
        float32 would not fit into the free memory of the device.
    progress
        Whether a first fetch shows a progress bar.

    Returns
    -------
    TransformerBridge
        Its ``to_tokens`` adds a beginning-of-sequence token only where plain transformers does.

    Raises
    ------
    UnknownModelError
        If there is no such folder and no such name, or it is not cached and there is no network.
    ModelError
        If TransformerLens has no adapter for this architecture.
    FetchError, ChecksumError
        If the embedded model cannot be fetched, or is not the published one.

    Examples
    --------
    >>> model = load()
    >>> model.cfg.n_layers, model.cfg.n_heads, model.training
    (30, 9, False)
    """
    where = _folder_or_name(name, progress=progress)
    config = _config(where, name)
    device = device or _best_device()
    tokenizer = _tokenizer(where)
    model = _boot(where, str(name), config, tokenizer, device, dtype or _best_dtype(config, device))
    if tokenizer is not None:
        model.cfg.default_prepend_bos = _adds_bos(tokenizer)
    model.cfg.dtype = next(model.parameters()).dtype
    model.cfg.model_name = Path(name).name if Path(where).is_dir() else str(name)
    return model.eval()


def _folder_or_name(name: str | Path, *, progress: bool) -> str:
    if str(name) == EMBEDDED:
        return str(embedded.fetch(progress=progress))
    path = Path(name).expanduser()
    if isinstance(name, Path) or str(name).startswith((".", "/", "~", os.sep)) or path.is_dir():
        if not (path / "config.json").is_file():
            msg = (
                f"{str(name)!r} is not a model folder: expected a folder with config.json, as save_pretrained writes it"
            )
            raise UnknownModelError(msg)
        return str(path)
    return str(name)


def _config(where: str, name: str | Path) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise UnknownModelError(_unknown(str(name), error)) from error


def _unknown(name: str, error: Exception) -> str:
    from transformer_lens import supported_models

    known = [EMBEDDED, *getattr(supported_models, "OFFICIAL_MODEL_NAMES", [])]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    offline = " HF_HUB_OFFLINE is set, so nothing was asked of the network." if os.environ.get("HF_HUB_OFFLINE") else ""
    return (
        f"no model {name!r}: it is not {EMBEDDED!r}, not a local folder, not in the Hugging Face cache, and could "
        f"not be downloaded.{hint}{offline} `nbtools models` lists what works here. ({type(error).__name__})"
    )


def _tokenizer(where: str) -> PreTrainedTokenizerBase | None:
    from transformers import AutoTokenizer

    if Path(where).is_dir() and not any((Path(where) / name).is_file() for name in _TOKENIZER_FILES):
        return None  # transformers would make an empty one
    try:
        return AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError, KeyError):
        return None  # a model without a tokenizer is read by token ids


def _best_device() -> str:
    from transformer_lens.utilities.devices import get_device

    return str(get_device())


def _best_dtype(config: PretrainedConfig, device: str) -> torch.dtype:
    import torch

    own = getattr(config, "dtype", None) or torch.float32
    if own == torch.float32 or 4 * _parameters(config) < _HEADROOM * _free_bytes(device):
        return torch.float32
    return own


def _parameters(config: PretrainedConfig) -> int:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).num_parameters()


def _free_bytes(device: str) -> int:
    import psutil
    import torch

    return torch.cuda.mem_get_info()[0] if device.startswith("cuda") else psutil.virtual_memory().available


def _boot(
    where: str,
    name: str,
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase | None,
    device: str,
    dtype: torch.dtype,
) -> TransformerBridge:
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
    from transformers import AutoModelForCausalLM

    try:
        with quiet():
            weights = AutoModelForCausalLM.from_pretrained(
                where, dtype=dtype, attn_implementation="eager", use_safetensors=True
            ).to(device)
        if tokenizer is None:
            return build_bridge_from_module(weights, config.architectures[0], hf_config=config, model_name=name)
        return TransformerBridge.boot_transformers(where, hf_model=weights, tokenizer=tokenizer, device=device)
    except OSError as error:
        msg = f"cannot read the weights of {name!r}: expected model.safetensors (pickles are never loaded): {error}"
        raise UnknownModelError(msg) from error
    except (ValueError, KeyError, NotImplementedError) as error:
        msg = (
            f"TransformerLens cannot hook {name!r} ({', '.join(config.architectures or ['unknown architecture'])}): "
            f"{error}. `nbtools models` names the families that work."
        )
        raise ModelError(msg) from error


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether plain transformers puts the beginning-of-sequence token in front of text."""
    ids = tokenizer("a").input_ids
    return bool(ids) and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id
