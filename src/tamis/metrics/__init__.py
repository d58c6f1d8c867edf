"""Statistics of evaluation: accuracy, intervals, detection of wrong labels and cheap rules."""

from tamis.metrics.accuracy import pair_credit
from tamis.metrics.bootstrap import (
    bootstrap_statistic,
    cluster_bootstrap,
    cluster_ids,
    paired_difference,
)
from tamis.metrics.calibration import brier_skill, expected_calibration_error
from tamis.metrics.detection import Detection, detection, detection_difference
from tamis.metrics.identity import identity_strength, text_ids, texts_recur
from tamis.metrics.length import length_delta, log_length_ratio
from tamis.metrics.multiple import holm, p_value

__all__ = [
    "Detection",
    "bootstrap_statistic",
    "brier_skill",
    "cluster_bootstrap",
    "cluster_ids",
    "detection",
    "detection_difference",
    "expected_calibration_error",
    "holm",
    "identity_strength",
    "length_delta",
    "log_length_ratio",
    "p_value",
    "pair_credit",
    "paired_difference",
    "text_ids",
    "texts_recur",
]
