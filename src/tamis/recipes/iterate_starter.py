"""The commented settings that ``tamis iterate --example`` prints."""

from __future__ import annotations

STARTER = """\
# Settings of `tamis iterate THIS_FILE`: rounds of sampling, adapting the reward model, optimising
# the policy, and measuring. out, policy.path, reward_model.model.path and all of data but verdicts
# are needed; the values below are the defaults unless a comment says otherwise. An unknown key is
# an error. Finished phases are not run again.

out: runs/my-iterate          # run directory: round-00/ ..., best/, rounds.json, report.html
rounds: 3                     # at most; published: gains for 3 rounds (dialogue), 4 (summaries)
seed: 0                       # samples, orders, new heads
trackers: []                  # of each round's figures: tensorboard, trackio, wandb
run_name: null                # there; null: the name of the run directory

policy:                       # a chat model; keys as those of `model` in a recipe
  path: HuggingFaceTB/SmolLM2-135M-Instruct

data:
  pairs: my_preferences.jsonl # pairs of the reward model: pairs.parquet, a run directory (its
                              # verdicts are found), or any file that `tamis data` reads
  # verdicts: verdicts.parquet
  prompts: prompts.jsonl      # sampled from and optimised on
  held_out: held_out.jsonl    # other prompts, for measuring alone

reward_model:
  model:                      # base model, or reward model; keys as those of `model` in a recipe
    path: HuggingFaceTB/SmolLM2-135M-Instruct
  train:                      # keys as those of `train` in a recipe, without objective.meta
    learning_rate: 2.0e-5
    batch_size: 16
  meta:                       # the MetaRM step on the round's responses; null = the pairs alone
    eta: 1.0                  # length of the inner step, in its unit; 0 = none
    unit: steps               # of the optimiser; gradient, as published with eta 5e-6, is next to
                              # nothing beside AdamW
    prompts: 16               # of a step
    holdout_frac: 0.1         # of the prompts are only measured
  # demonstrations: {path: demos.jsonl, weight: 1.0, preference_weight: 1.0, samples: newest}
                              # answers preferred to the policy's (AIHF); samples: all rounds' or
                              # the newest's; form: logistic, or linear, which never comes to rest
  start: base                 # or previous: each round goes on with the reward model before it
  members: 1                  # reward models a round; from 2 on their disagreement is watched

sample:                       # what each round samples before anything is trained
  sampling:
    num: 4                    # responses to a prompt; published with MetaRM: 5
    temperature: 1.0
    top_p: 1.0                # published: temperature 0.8, top_p 0.9, repetition_penalty 1.1
    max_new_tokens: 256
  # limit: 1000               # prompts at most (default: all); RL takes all

improve:
  by: rl                      # or align: best against worst responses; best_of: on the best alone
  start: previous             # or start: each round optimises the first policy anew
  rl:                         # keys as for `tamis rl`: preset, method, fit, kl_coefficient ...
    method: grpo
    num_generations: 4
    kl_coefficient: 0.05      # against the policy that the round begins with
  reward:                     # what RL maximises, what chooses for align and best_of, the proxy
    scorers: [round]          # the reward models of the round; others may stand beside them
    # ensemble: lower         # several: mean - penalty x spread, standardised (default: mean)
    # penalty: 1.0
  align:                      # keys as for `tamis align`: beta, loss, terms, fit ...
    beta: 0.1

measure:                      # on the held-out prompts, at the start and after every round
  sampling:
    num: 4                    # responses to a prompt
    temperature: 1.0          # other values, or cuts, measure the KL of another policy
  # limit: 200                # held-out prompts at most (default: all)
  # judge: {by: "http://localhost:8000/v1#judge", rubric: helpful}   # against the start policy;
                              # or {by: "gold:runs/gold-rm"}; pairing: all, unless it is given
  # gold: [runs/gold-rm]      # scorers that nothing is optimised with

stop:                         # null switches a rule off
  quality_patience: 1         # rounds in a row below the best so far, by more than noise; gold, too
  proxy_patience: 2           # rounds in a row that their reward models prefer to the best
  kl: 50.0                    # nats a response from the start policy
  length_factor: 2.0          # responses so many times as long as at the start, or as short
  finished_fall: 0.3          # fall of the share of responses that end before the limit
  repeated_rise: 0.2          # rise of the share of four-grams that a response repeats
  distinct_factor: 0.5        # distinct bigrams, as a part of those at the start
  spread_factor: 2.0          # disagreement of the reward models, times that about the start
"""


def iterate_starter() -> str:
    """Return the settings as YAML text.

    >>> iterate_starter().startswith("# Settings of `tamis iterate THIS_FILE`")
    True
    """
    return STARTER
