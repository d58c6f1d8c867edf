"""The RL run of the study: a policy that is trained towards a proxy while gold watches.

GRPO with LoRA, without a penalty on the divergence, which is measured alone.

Shape legend: N answers.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tamis.models.config import ModelConfig
from tamis.policy.rl.config import RewardConfig, RLConfig
from tamis.policy.rl.fit import reinforce
from tamis.policy.rl.rewards import Asked, Judged, Scored
from tamis.policy.rl.watch import WATCH, read_lines
from tamis.policy.sampling.responses import Sampled, answer_turn
from tamis.policy.settings import PolicyFit
from tamis.recipes.reinforcing import reward_score
from tamis.runs import read_json, write_json
from tamis.studies.judges import Judge
from tamis.studies.overoptimise.looks import Look, RLTask, looks_of
from tamis.studies.overoptimise.plan import RLPlan
from tamis.train.config import AdapterConfig
from tamis.types import Conversation

LOOKS = "looks.json"


@dataclass(frozen=True, slots=True)
class Reinforcer:
    """Trains the policy of the study towards a proxy; what is finished is not done again.

    Attributes:
        policy: where it starts.
        prompts: to train on.
        held_out: to look at.
        gold: only watches.
        max_new_tokens: tokens of an answer at most.
        plan: of the runs.
    """

    policy: ModelConfig
    prompts: Sequence[Conversation]
    held_out: Sequence[Conversation]
    gold: Judge
    max_new_tokens: int
    plan: RLPlan

    def __call__(self, task: RLTask) -> list[Look]:
        """Return the looks of a run, which goes on where it was killed.

        Raises:
            ConfigError: a model cannot be loaded, or the loss diverged.
        """
        path = task.folder / LOOKS
        if not path.is_file():
            out = task.folder / "out"
            reward = RewardConfig(scorers=(str(task.proxy),), every=self.plan.every)
            reinforce(
                self.prompts,
                policy=self.policy,
                judged=Judged(reward_score(reward), self._gold),
                reward=reward,
                config=self._config(),
                seed=task.seed,
                work=task.folder / "work",
                out=out,
                held_out=self.held_out,
            )
            looks = looks_of(read_lines(out / WATCH))
            write_json(path, [asdict(look) for look in looks])
            for folder in (out, task.folder / "work"):  # gigabytes that nobody reads again
                shutil.rmtree(folder, ignore_errors=True)
        return [Look(**look) for look in read_json(path)]

    def _config(self) -> RLConfig:
        plan = self.plan
        fit = PolicyFit(
            learning_rate=plan.learning_rate,
            batch_size=plan.batch_size,
            max_steps=plan.steps,
            epochs=1e6,  # the steps decide
            lora=AdapterConfig(rank=plan.rank),
        )
        return RLConfig(
            fit=fit,
            num_generations=plan.num_generations,
            max_new_tokens=self.max_new_tokens,
            kl_coefficient=0.0,
        )

    def _gold(self, asked: Sequence[Asked]) -> Scored:
        """Return gold rewards above that of a full stop, the zero point of each prompt."""
        zero = answer_turn("")
        rewards_N2 = self.gold.rewards([Sampled(one.prompt, (zero, one.answer)) for one in asked])
        return Scored(rewards_N2[:, 1])
