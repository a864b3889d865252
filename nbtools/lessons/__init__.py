"""Exercises that check themselves, hints that unfold, the ledger of claims, and copies for a workshop.

::

    check(sink_mass, reference, inputs=[pattern], hint="Sum over queries first.")
    hint("Which axis holds the keys?", "`pattern[..., 0]` is the first key.")
    claim("The first token is a sink", source="Xiao et al. 2023", figure="> 0.5",
          ours=mass, test=mass > 0.5, verdict="holds")
"""

from __future__ import annotations

from nbtools.lessons.checks import CheckError, Outcome, check
from nbtools.lessons.claims import Claim, ClaimError, ClaimsTable, claim, claims_table
from nbtools.lessons.copies import Exercise, exercises, participant_copy, solution_copy, write_copies
from nbtools.lessons.hints import Hint, hint
from nbtools.lessons.ledger import Ledger, collect

__all__ = [
    "CheckError",
    "Claim",
    "ClaimError",
    "ClaimsTable",
    "Exercise",
    "Hint",
    "Ledger",
    "Outcome",
    "check",
    "claim",
    "claims_table",
    "collect",
    "exercises",
    "hint",
    "participant_copy",
    "solution_copy",
    "write_copies",
]
