"""Patching: causal experiments, in which activations are changed and the answer is watched."""

from nbtools.patching.ablation import ablation
from nbtools.patching.alignment import learn_subspace, learning
from nbtools.patching.attribution import attribute
from nbtools.patching.circuit import Circuit, Edge, Node
from nbtools.patching.diagnosis import Diagnosis, compare_patches, diagnose
from nbtools.patching.edges import path_attribute
from nbtools.patching.editing import RankOneEdit, rank_one_edit, second_moment
from nbtools.patching.exact import Sweep, patch
from nbtools.patching.faithful import completeness, faithfulness, minimality
from nbtools.patching.forcing import force_attention
from nbtools.patching.mediator import Mediator
from nbtools.patching.moving import move_along
from nbtools.patching.overlapping import overlap
from nbtools.patching.pairwise import pair_directions, patch_directions
from nbtools.patching.paths import PathSweep, path_patch
from nbtools.patching.proof import prove
from nbtools.patching.quantizing import quantize
from nbtools.patching.readers import reader_weights, row_space, split
from nbtools.patching.search import Stage, circuit_search, searching
from nbtools.patching.sinks import SINK_INTERVENTIONS, intervene, sink_costs
from nbtools.patching.sites import SITES
from nbtools.patching.spread import pooled, spread
from nbtools.patching.steering import generate, mean_difference, steering, written
from nbtools.patching.subspace import Subspace, gradient_direction, mean_direction, patch_subspace

__all__ = [
    "SINK_INTERVENTIONS",
    "SITES",
    "Circuit",
    "Diagnosis",
    "Edge",
    "Mediator",
    "Node",
    "PathSweep",
    "RankOneEdit",
    "Stage",
    "Subspace",
    "Sweep",
    "ablation",
    "attribute",
    "circuit_search",
    "compare_patches",
    "completeness",
    "diagnose",
    "faithfulness",
    "force_attention",
    "generate",
    "gradient_direction",
    "intervene",
    "learn_subspace",
    "learning",
    "mean_difference",
    "mean_direction",
    "minimality",
    "move_along",
    "overlap",
    "pair_directions",
    "patch",
    "patch_directions",
    "patch_subspace",
    "path_attribute",
    "path_patch",
    "pooled",
    "prove",
    "quantize",
    "rank_one_edit",
    "reader_weights",
    "row_space",
    "searching",
    "second_moment",
    "sink_costs",
    "split",
    "spread",
    "steering",
    "written",
]
