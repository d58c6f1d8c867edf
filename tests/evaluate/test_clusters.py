"""What is resampled for the intervals of a benchmark."""

import numpy as np
import pytest
from bench_items import make_items

from tamis.evaluate.clusters import MIN_GROUPS, item_clusters


def items(num_groups, **texts):
    return make_items(group=[f"g{n % num_groups}" for n in range(60)], **texts)


@pytest.mark.parametrize("num_groups", [2, MIN_GROUPS])
def test_groups_are_the_rule(num_groups):
    clusters = item_clusters(items(num_groups))
    assert clusters.ndim == 1
    assert len(np.unique(clusters)) == num_groups


def test_few_groups_give_way_to_texts_that_recur():
    one, others = np.zeros(60, np.int64), 1 + np.arange(60)
    assert item_clusters(items(5, text_chosen=one, text_rejected=others)).ndim == 1
    assert item_clusters(items(5, text_chosen=one, text_rejected=others // 2)).shape == (60, 2)


def test_a_single_group_is_resampled_by_texts_or_by_pairs():
    recurring = np.arange(60) * 2
    recurring[1] = 0
    assert item_clusters(items(1, text_chosen=recurring)).shape == (60, 2)
    assert item_clusters(items(1)).tolist() == list(range(60))
