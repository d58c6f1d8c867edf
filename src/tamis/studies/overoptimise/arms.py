"""The arms of the over-optimisation study: what each changes of a proxy trained on raw labels.

All but ``trusted`` were fixed before anything was run; it was added when these had been seen, since
the vote found no wrong label without it. Arms with the same labels start from the same model, whose
head alone was trained on them, so that they differ in what comes after it. ``combined`` is denoised
labels together with WARM: one acts on the labels and the other on the weights, so that each can do
what it does alone. PCRM is not part of it, as its bound hardly bound anything in the noise bench;
nor is MetaRM, which reads answers that raw labels picked; nor the ensemble, which is another use of
WARM's members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tamis.errors import ConfigError
from tamis.train.config import ObjectiveConfig, TrainConfig

RAW, DENOISED, TRUSTED, METARM, PCRM = "raw", "denoised", "trusted", "metarm", "pcrm"
MEMBER, WARM, ENSEMBLE, COMBINED = "member", "warm", "ensemble", "combined"
ORACLE, LENGTH = "oracle", "length"

Labels = Literal["given", "denoised", "trusted", "true"]
NUM_CHECKED = 100  # labels that the arm TRUSTED knows the truth of, to learn how others are wrong
How = Literal["one", "member", "average", "lower", "length"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One proxy.

    Attributes:
        name: short, for files.
        title: for tables.
        what: what it changes of ``raw``, in a sentence.
        kind: a ``remedy`` is compared with ``raw``; a ``reference`` stands beside them.
        labels: ``given`` ones, some of them wrong; ``denoised``, blind to the truth; ``trusted``,
            denoised with some labels checked; ``true`` ones.
        terms: terms of the objective with their settings.
        meta: whether each step is a MetaRM step, with an inner step in the metric of the outer one.
        how: ``one`` model; of several with rates and head dropouts of their own, a ``member``
            (the mean of what each is worth), the ``average`` of their weights or the ``lower``
            bound, mean - std, of their standardised scores; or the ``length`` of a response.
    """

    name: str
    title: str
    what: str
    kind: Literal["raw", "remedy", "reference"] = "remedy"
    labels: Labels = "given"
    terms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    meta: bool = False
    how: How = "one"

    def train(self, plain: TrainConfig, *, meta: Mapping[str, Any] | None = None) -> TrainConfig:
        """Return the settings of the arm, given those of ``raw``.

        Args:
            plain: settings of ``raw``.
            meta: of the MetaRM step (`tamis.train.step_config.MetaConfig`); read by an arm that
                takes it.
        """
        objective: dict[str, Any] = {
            "terms": {name: dict(settings) for name, settings in self.terms.items()}
        }
        if self.meta:
            objective["meta"] = meta
        return plain.model_copy(update={"objective": ObjectiveConfig.model_validate(objective)})


_ARMS = (
    Arm(RAW, "raw labels", "Bradley-Terry loss on the labels as they are", "raw"),
    Arm(
        DENOISED,
        "denoised",
        "pairs are weighed by a vote on the labels (policy auto), blind to the truth",
        labels="denoised",
    ),
    Arm(
        TRUSTED,
        f"denoised, {NUM_CHECKED} checked",
        f"the same with {NUM_CHECKED} labels checked, which show how the others are wrong; they "
        "stay as they were given. Added after the other arms were seen",
        labels="trusted",
    ),
    Arm(
        METARM,
        "MetaRM",
        "the pair loss where the best answers by the raw proxy differ more, without labels",
        meta=True,
    ),
    Arm(PCRM, "PCRM, length", "gaps are bounded by the ratio of lengths", terms={"pcrm": {}}),
    Arm(
        MEMBER,
        "one of three models",
        "one of the next three alone, the mean of all three: each has a rate, an order and a head "
        "dropout of its own",
        "reference",
        how="member",
    ),
    Arm(WARM, "WARM", "the average of three models' weights", how="average"),
    Arm(
        ENSEMBLE,
        "ensemble, mean − std",
        "a lower bound of the same three models' scores, standardised",
        how="lower",
    ),
    Arm(
        COMBINED,
        "denoised + WARM",
        "both together",
        labels="denoised",
        how="average",
    ),
    Arm(ORACLE, "true labels", "no label is wrong", "reference", labels="true"),
    Arm(LENGTH, "the longer", "no model: the number of characters", "reference", how="length"),
)
ARMS: Mapping[str, Arm] = {arm.name: arm for arm in _ARMS}
ALL_ARMS = tuple(ARMS)
TOGETHER = (WARM, ENSEMBLE)  # of the models of which MEMBER is one
QUICK_ARMS = (RAW, DENOISED, METARM, PCRM, ORACLE, LENGTH)


def arm_of(name: str) -> Arm:
    """Return an arm.

    Raises:
        ConfigError: there is no such arm.
    """
    if name not in ARMS:
        raise ConfigError(f"no arm {name!r}: expected one of {', '.join(ARMS)}")
    return ARMS[name]
