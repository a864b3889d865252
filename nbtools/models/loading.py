"""Any model TransformerLens can boot, in one line."""

from __future__ import annotations

import difflib
import os
from contextlib import nullcontext
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
_READ = ("*.json", "*.safetensors", "*.model", "*.txt")  # of a branch
_HEADROOM = 0.7  # share of the free memory that float32 weights may take


def load(
    name: str | Path = EMBEDDED,
    *,
    checkpoint: int | str | None = None,
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
    checkpoint
        The model as it was in its training, at a step: the branch ``step3000`` of a Hugging Face name for 3000, as
        ``EleutherAI/pythia-70m`` has them from ``step0`` to ``step143000``, or the folder ``checkpoint-3000`` in a
        folder, as the Trainer of transformers writes it. A string is the name of a branch or of a folder within.
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
        If there is no such folder, name or checkpoint, or it is not cached and there is no network.
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
    where = _folder_or_name(name, checkpoint, progress=progress)
    config = _config(where, name)
    device = device or _best_device()
    tokenizer = _tokenizer(where)
    model = _boot(where, str(name), config, tokenizer, device, dtype or _best_dtype(config, device))
    if tokenizer is not None:
        model.cfg.default_prepend_bos = _adds_bos(tokenizer)
    model.cfg.dtype = next(model.parameters()).dtype
    own = Path(name).name if _is_folder(name) else str(name)
    model.cfg.model_name = own if checkpoint is None else f"{own} at {_spelt(name, checkpoint)}"
    return model.eval()


def _folder_or_name(name: str | Path, checkpoint: int | str | None, *, progress: bool) -> str:
    if name == EMBEDDED:
        return _within(embedded.fetch(progress=progress), name, checkpoint)
    if _is_folder(name):
        return _within(Path(name).expanduser(), name, checkpoint)
    return str(name) if checkpoint is None else _fetch_branch(str(name), _spelt(name, checkpoint), progress=progress)


def _is_folder(name: str | Path) -> bool:
    return isinstance(name, Path) or name.startswith((".", "/", "~", os.sep)) or Path(name).is_dir()


def _spelt(name: str | Path, checkpoint: int | str) -> str:
    """Give the branch or the folder of a step."""
    return (
        checkpoint if isinstance(checkpoint, str) else ("checkpoint-" if _is_folder(name) else "step") + str(checkpoint)
    )


def _within(folder: Path, name: str | Path, checkpoint: int | str | None) -> str:
    """Give the folder of a checkpoint in a folder, or the folder itself."""
    found = folder if checkpoint is None else folder / _spelt(name, checkpoint)
    if not (found / "config.json").is_file():
        there = sorted((known.parent.name for known in folder.glob("*/config.json")), key=_by_step)
        more = f"; checkpoints in {str(folder)!r}: {', '.join(there)}" if there else ""
        msg = f"{str(found)!r} is not a model folder: expected a folder with config.json, as save_pretrained writes it"
        raise UnknownModelError(msg + more)
    return str(found)


def _by_step(name: str) -> tuple[int, str]:
    step = name.rpartition("-")[2]
    return int(step) if step.isdecimal() else -1, name


def _fetch_branch(name: str, branch: str, *, progress: bool) -> str:
    """Fetch all of a branch but pickles, and give the folder: what is loaded by name takes its tokenizer from main."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        with nullcontext() if progress else quiet():
            return snapshot_download(name, revision=branch, allow_patterns=_READ)
    except (OSError, HFValidationError) as error:
        raise UnknownModelError(_unknown(f"{name}, branch {branch}", error)) from error


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
