"""What a denoising policy did, in figures.

Shape legend: N pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tamis.denoise.config import DenoiseConfig
from tamis.types import Pair, Verdict


def denoise_report(
    pairs: Sequence[Pair], verdicts: Sequence[Verdict], *, config: DenoiseConfig
) -> dict[str, Any]:
    """Count what was changed and, where gold labels are known, what was repaired or broken.

    A pair that was left out (weight 0) counts as dropped, and not as flipped or softened.
    """
    num_changed = sum(v.reason != "keep" for v in verdicts)
    return {
        "policy": config.policy,
        "settings": config.model_dump(mode="json", exclude={"policy"}),
        "num_pairs": len(pairs),
        "num_changed": num_changed,
        "changed_frac": num_changed / len(pairs),
        "num_dropped": sum(v.weight == 0 for v in verdicts),
        "num_flipped": sum(v.target < 0.5 for v in verdicts if v.weight > 0),
        "num_softened": sum(0 < v.target < 1 for v in verdicts if v.weight > 0),
        "reasons": dict(sorted(Counter(v.reason for v in verdicts).items())),
        "mean_weight": sum(v.weight for v in verdicts) / len(verdicts),
        "against_gold": _against_gold(pairs, verdicts),
    }


def _against_gold(pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> dict[str, Any] | None:
    """Compare label and verdict with gold; undecided gold labels (0.5) are left out."""
    known = [
        (pair.gold < 0.5, verdict)
        for pair, verdict in zip(pairs, verdicts, strict=True)
        if pair.gold is not None and pair.gold != 0.5
    ]
    used = [(wrong, verdict.target < 0.5) for wrong, verdict in known if verdict.weight > 0]
    if not known or not used:
        return None
    return {
        "num_known": len(known),
        "num_used": len(used),
        "wrong_before_frac": sum(wrong for wrong, _ in known) / len(known),
        "wrong_after_frac": sum(wrong != flipped for wrong, flipped in used) / len(used),
        "num_repaired": sum(wrong and flipped for wrong, flipped in used),
        "num_broken": sum(flipped and not wrong for wrong, flipped in used),
        "num_wrong_dropped": sum(wrong and verdict.weight == 0 for wrong, verdict in known),
        "num_right_dropped": sum(not wrong and verdict.weight == 0 for wrong, verdict in known),
    }
