"""What the first minute costs: import, load, a keystroke. One JSON line per figure, a ratio against a named peer.

Run with ``python benchmarks/first_light.py``. Both sides of each ratio are timed in turns in the same run, and the
median is taken, so the load of the machine falls on both; the load is printed beside it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROMPT = "When Mary and John went to the store, John gave a drink to"


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> tuple[float, float]:
    ours(), theirs()  # warm up
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return statistics.median(mine for mine, _ in pairs), statistics.median(other for _, other in pairs)


def report(figure: str, ours: float, peer: str, theirs: float, **facts: object) -> None:
    import torch

    line = {"figure": figure, "seconds": round(ours, 4), "peer": peer, "peer_seconds": round(theirs, 4)}
    line |= {"ratio": round(ours / theirs, 3), "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    print(json.dumps(line | facts))


def process(statement: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", statement], check=True)


def main() -> None:
    bare, _ = in_turns(process("pass"), process("pass"), rounds=5)
    ours, theirs = in_turns(process("import nbtools"), process("import torch"), rounds=5)
    report("import nbtools", ours - bare, "import torch", theirs - bare)

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import nbtools as nb
    from nbtools.explorers.attention import explore

    folder = nb.models.fetch()

    def plain():
        AutoTokenizer.from_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

    ours, theirs = in_turns(nb.load, plain, rounds=3)
    report("warm nb.load()", ours, "transformers from_pretrained of the same folder", theirs)

    model, hf = nb.load(), plain()
    ids = nb.models.tokens(model, PROMPT).ids
    nb.setup(seed=0)

    @torch.no_grad()
    def forward_plain():
        return hf(ids, output_attentions=True, use_cache=False)

    @torch.no_grad()
    def cache_everything():
        return model.run_with_cache(ids)

    ours, theirs = in_turns(lambda: explore(model, PROMPT, 18), forward_plain, rounds=15)
    report(
        "one keystroke in the attention explorer",
        ours,
        "transformers forward with attentions",
        theirs,
        tokens=ids.shape[1],
    )

    ours, theirs = in_turns(lambda: nb.measures.head_scores(model, ids), cache_everything, rounds=15)
    report("scores of all heads", ours, "TransformerLens run_with_cache", theirs, tokens=ids.shape[1])


if __name__ == "__main__":
    main()
