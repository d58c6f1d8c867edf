import gzip
import json

import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.studies.material import Limits, make_bench, some_pairs
from tamis.vote.frozen import depth_scales, flatten, frozen_differences

LIMITS = Limits(train=100, test=50)


@pytest.fixture(scope="module")
def made(few, tiny_bert, tmp_path_factory):
    models = {"a": ModelConfig(path=tiny_bert), "b": ModelConfig(path=tiny_bert, num_layers=1)}
    cache = tmp_path_factory.mktemp("features")
    return make_bench("ukp", few, models=models, cache=cache), models, cache


def test_features_of_all_models_stand_side_by_side(made, few):
    bench, models, cache = made
    assert (len(bench.train), len(bench.test)) == (440, 200)
    train_ND, test_MD = bench.joined()
    diff_NLD = frozen_differences(few, model=models["a"], cache=cache)
    flat_ND = flatten(diff_NLD, scale_L=depth_scales(diff_NLD[:440]))
    width = flat_ND.shape[1]
    np.testing.assert_array_equal(train_ND[:, :width], flat_ND[:440])
    np.testing.assert_array_equal(test_MD[:, :width], flat_ND[440:])
    assert train_ND.shape[1] == width + bench.features["b"][0].shape[1]


def test_each_model_reads_each_text_once(made, few):
    """The bounds are made of features that were read for the heads."""
    _, models, cache = made
    sides = {pair.prompt + side for pair in few for side in (pair.chosen, pair.rejected)}
    chunks = list(cache.glob("features-*.npy"))
    assert sum(len(np.load(chunk)) for chunk in chunks) == len(models) * len(sides)


def test_bounds_are_the_published_ones(made):
    bench, _, _ = made
    for prior, least in (("length", 4.99), ("cosine", 4.98)):
        bound_N = bench.bounds[prior]
        assert bound_N.shape == (440,)
        assert bound_N.min() > least - 0.01
    assert np.corrcoef(bench.bounds["length"], bench.bounds["cosine"])[0, 1] < 0.95


def test_distance_is_the_margin_and_clusters_are_what_recurs(made):
    bench, _, _ = made
    assert bench.distance_N.tolist() == [abs(pair.margin) for pair in bench.train]
    assert bench.train_clusters.shape == (440, 2)
    assert bench.test_clusters.shape == (200, 2)  # two debates are too few to draw from
    assert bench.has_groups


def write(folder, name, rows):
    with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def row(number, *, split="train", votes=None, margin=None):
    found = {
        "prompt": [{"role": "user", "content": f"question {number // 10}"}],
        "chosen": [{"role": "assistant", "content": f"good {number}"}],
        "rejected": [{"role": "assistant", "content": f"bad {number}"}],
        "split": split,
    }
    return found | ({"votes": votes} if votes else {}) | ({"margin": margin} if margin else {})


def test_humour_keeps_pairs_that_three_people_decided(tmp_path):
    votes = [
        {"chosen": 2, "rejected": 0},
        {"chosen": 2, "rejected": 1},
        {"chosen": 5, "rejected": 0},
    ]
    rows = [
        row(n, votes=votes[n % 3], split=("train", "test", "cross")[n % 4 % 3]) for n in range(60)
    ]
    write(tmp_path, "humour_votes", rows)
    pairs = some_pairs("humour", data=tmp_path, limits=LIMITS)
    assert {pair.split for pair in pairs} == {"train", "test"}
    assert all(pair.votes.chosen + pair.votes.rejected >= 3 for pair in pairs)
    assert all(pair.gold == 1.0 for pair in pairs)
    splits = [pair.split for pair in pairs]
    assert splits == sorted(splits, reverse=True)  # train before test


def test_whole_groups_are_kept_up_to_a_limit(tmp_path):
    rows = [row(n, split="train" if n < 300 else "test", margin=0.7) for n in range(500)]
    write(tmp_path, "alpacaeval_gpt4turbo_graded", rows)
    pairs = some_pairs("alpaca", data=tmp_path, limits=LIMITS)
    sizes = {split: sum(pair.split == split for pair in pairs) for split in ("train", "test")}
    assert sizes == {"train": 100, "test": 50}
    groups = [pair.group for pair in pairs]
    assert {groups.count(group) for group in groups} == {10}
    assert pairs == some_pairs("alpaca", data=tmp_path, limits=LIMITS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"hh_harmless_base\.jsonl\.gz"):
        some_pairs("hh", data=tmp_path, limits=LIMITS)
