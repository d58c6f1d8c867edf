"""Published settings of reinforcement learning, mapped to groups of answers without a critic.

All five papers train with PPO and a critic. GRPO and RLOO take the mean reward of other answers to
the same prompt in place of the critic, so some settings carry over as they are, some nearly, and
some have no counterpart. Each preset says so, setting by setting; `tamis.policy.rl.config` holds
what the settings mean here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tamis.errors import ConfigError

PresetName = Literal["secrets2", "secrets2_meta", "metarm", "pcrm", "grm", "salmon"]
How = Literal["exact", "approximate", "none"]


@dataclass(frozen=True, slots=True)
class Mapped:
    """One published setting.

    Attributes:
        published: what the source says.
        here: what became of it.
        how: whether it means the same here, nearly the same, or has no counterpart.
    """

    published: str
    here: str
    how: How


@dataclass(frozen=True, slots=True)
class Preset:
    """Published settings.

    Attributes:
        source: paper, and the part of it.
        settings: of `RLConfig`.
        reward: of `RewardConfig`; empty where the source neither clips nor shapes.
        rows: setting by setting, what became of it.
    """

    source: str
    settings: Mapping[str, Any]
    rows: tuple[Mapped, ...]
    reward: Mapping[str, Any] = field(default_factory=dict)


CRITIC = Mapped("critic, its learning rate and GAE", "mean reward of the group", "none")
# zero and unit of raw scores are one reward model's own, so its limits fit no other
CLIP = "reward_clip, of reward.which standardised: by the checkpoint's mean and std"
STANDARDISED = {"which": "standardised"}
CLIP_VALUE = Mapped("clipped value loss", "no critic", "none")
TOKEN_KL = (
    "kl_coefficient; RLOO: taken off the reward, summed over tokens; GRPO: k3 term of the loss"
)
GROUP = "num_generations; the group gives the baseline, too"


def published(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        ConfigError: there is none.

    >>> published("metarm").settings["num_generations"]
    16
    """
    if name not in get_args(PresetName):
        raise ConfigError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


_SECRETS2: dict[str, Any] = {
    "fit": {"learning_rate": 5e-7, "batch_size": 32, "max_steps": 2000},
    "num_generations": 4,
    "temperature": 0.8,
    "top_p": 0.9,
    "repetition_penalty": 1.1,
    "max_new_tokens": 512,
    "kl_coefficient": 0.0,
}
_SECRETS2_ROWS = (
    Mapped("actor learning rate 5e-7", "fit.learning_rate, linear decay", "exact"),
    Mapped("batch 32", "fit.batch_size, 8 prompts with 4 answers", "approximate"),
    Mapped("2000 iterations", "fit.max_steps", "exact"),
    Mapped("4 roll-outs per query", GROUP, "approximate"),
    Mapped("temperature 0.8, top-p 0.9, repetition penalty 1.1", "the same", "exact"),
    Mapped("512 new tokens", "max_new_tokens", "exact"),
    CRITIC,
    Mapped("gamma 1", "no discount", "exact"),
)
_META = {**_SECRETS2, "kl_coefficient": 0.05, "reward_clip": 0.8}
_META_ROWS = (
    Mapped("KL coefficient 0.05 per token", TOKEN_KL, "approximate"),
    Mapped("reward clip 0.8 (released code: after scaling by a running std)", CLIP, "approximate"),
)

PRESETS: Mapping[str, Preset] = {
    "secrets2": Preset(
        "Secrets of RLHF II (arXiv 2401.06080), appendix B, data and contrastive parts",
        _SECRETS2,
        (*_SECRETS2_ROWS, Mapped("no KL penalty", "kl_coefficient 0: measured", "exact")),
    ),
    "secrets2_meta": Preset(
        "Secrets of RLHF II (arXiv 2401.06080), appendix B, meta-learning part",
        _META,
        (*_SECRETS2_ROWS, *_META_ROWS),
        reward=STANDARDISED,
    ),
    "metarm": Preset(
        "MetaRM (arXiv 2405.00438, AAAI 2025)",
        {**_META, "num_generations": 16},
        (
            *(row for row in _SECRETS2_ROWS if not row.published.startswith(("batch", "4 roll"))),
            Mapped("16 roll-outs per query", GROUP, "approximate"),
            Mapped("batch not stated", "32 of Secrets II: 2 prompts with 16", "approximate"),
            *_META_ROWS,
        ),
        reward=STANDARDISED,
    ),
    "pcrm": Preset(
        "PCRM (arXiv 2404.00978), released code, dialogue",
        {
            "fit": {
                "learning_rate": 1e-5,
                "batch_size": 16,
                "max_steps": 200,
                "optimiser": {
                    "schedule": "cosine",
                    "warmup_frac": 0.5,
                    "weight_decay": 0.1,
                    "betas": (0.9, 0.95),
                },
            },
            "num_generations": 4,
            "max_new_tokens": 384,
            "max_prompt_tokens": 256,
            "kl_coefficient": 0.1,
            "reward_clip": 5.0,
        },
        (
            Mapped("actor learning rate 1e-5, cosine", "fit.optimiser.schedule", "exact"),
            Mapped("warm-up of 100 of 200 steps", "fit.optimiser.warmup_frac 0.5", "exact"),
            Mapped("weight decay 0.1", "fit.optimiser.weight_decay", "exact"),
            Mapped("betas 0.9 and 0.95", "fit.optimiser.betas", "exact"),
            Mapped("4 per GPU x 4 accumulated", "fit.batch_size 16", "approximate"),
            Mapped("prompt 256, answer 384 tokens", "longer prompts left out", "approximate"),
            Mapped("greedy roll-outs", "a group of equal answers teaches nothing: 1.0", "none"),
            Mapped("one roll-out per prompt", GROUP, "none"),
            Mapped("KL coefficient 0.1 per token", TOKEN_KL, "approximate"),
            Mapped("reward clip 5, of raw scores", CLIP, "approximate"),
            Mapped(
                "ratio clip 0.2",
                "TRL's epsilon 0.2; idle, as each answer is used once",
                "approximate",
            ),
            CRITIC,
            CLIP_VALUE,
        ),
        reward=STANDARDISED,
    ),
    "grm": Preset(
        "GRM (arXiv 2406.10216, NeurIPS 2024), PPO experiments",
        {
            "fit": {
                "learning_rate": 1e-5,
                "batch_size": 64,
                "lora": {"rank": 32, "alpha": 64},
            },
            "num_generations": 4,
            "temperature": 0.7,
            "top_p": 0.9,
            "max_new_tokens": 512,
            "kl_coefficient": 0.0,
        },
        (
            Mapped("learning rate 1e-5, LoRA rank 32", "fit.lora on all linear", "approximate"),
            Mapped("batch 64", "fit.batch_size, 16 prompts with 4 answers", "approximate"),
            Mapped("one roll-out per prompt", GROUP, "none"),
            Mapped("temperature 0.7, top-p 0.9, 512 new tokens", "the same", "exact"),
            Mapped("KL coefficient 0", "kl_coefficient 0: measured", "exact"),
            Mapped("reward whitening by running mean and std", "GRPO's group std", "approximate"),
            CRITIC,
        ),
    ),
    "salmon": Preset(
        "SALMON (arXiv 2310.05910, ICLR 2024), released code",
        {
            "fit": {"learning_rate": 2e-5, "batch_size": 288, "epochs": 2.0},
            "num_generations": 4,
            "temperature": 0.7,
            "max_new_tokens": 1024,
            "max_prompt_tokens": 256,
            "kl_coefficient": 0.01,
        },
        (
            Mapped("learning rate 2e-5", "fit.learning_rate, linear decay", "exact"),
            Mapped("step batch 288 of 576 roll-outs", "288, all of one policy", "approximate"),
            Mapped("2 data epochs", "fit.epochs", "exact"),
            Mapped("2 PPO epochs per roll-out", "1; trl.num_iterations 2", "approximate"),
            Mapped("one roll-out per prompt", GROUP, "none"),
            Mapped("temperature 0.7, 256 + 1024 tokens", "longer prompts left out", "approximate"),
            Mapped("KL coefficient 0.01 per token", TOKEN_KL, "approximate"),
            Mapped("-6 without a stop token", "shaping.no_stop_penalty, raw scores", "approximate"),
            Mapped("length bonus 5 min(0.8, n / 1024 x m)", "off; m = 1 in shaping", "approximate"),
            Mapped("shaped rewards x 10", "GRPO's group std takes it out", "none"),
            Mapped("3 principles per roll-out", "reward.draw 3, per prompt", "approximate"),
            Mapped("QLoRA on 70B", "fit.lora of your own", "none"),
            CRITIC,
        ),
        reward={"shaping": {"no_stop_penalty": 6.0}},
    ),
}
