from itertools import pairwise

import numpy as np
import pytest

from tamis.policy.align.keyphrases import (
    degraded_versions,
    key_order,
    key_phrases,
    random_order,
    words_of,
)

# the example of the RAKE paper, in which "minimal" stands in phrases of 1, 2 and 3 words
ABSTRACT = (
    "Compatibility of systems of linear constraints over the set of natural numbers. Criteria of "
    "compatibility of a system of linear Diophantine equations, strict inequations, and nonstrict "
    "inequations are considered."
)


def texts_of(text):
    words = words_of(text)
    return [" ".join(words[place] for place in phrase.words) for phrase in key_phrases(text)]


def test_the_phrases_of_rakes_paper_come_in_its_order():
    assert texts_of(ABSTRACT)[:5] == [
        "linear Diophantine equations,",
        "linear constraints",
        "natural numbers.",
        "strict inequations,",
        "nonstrict inequations",
    ]


def test_scores_are_degree_by_frequency():
    # "linear" is in phrases of 2 and 3 words: 2.5; the other two words of the longer score 3 each
    assert [phrase.score for phrase in key_phrases(ABSTRACT)][:2] == [8.5, 4.5]


def test_punctuation_and_stop_words_part_phrases():
    assert texts_of("red fox, blue dog and green bird (old cat)")[0] == "red fox,"
    assert len(key_phrases("red fox, blue dog and green bird (old cat)")) == 3  # a third of 8 words


def test_a_phrase_that_recurs_is_deleted_everywhere():
    order = key_order("the red fox is the red fox")
    assert order == [1, 2, 5, 6]


@pytest.mark.parametrize("text", ["", "and so on", "...", "\n"])
def test_a_text_without_content_has_no_phrases(text):
    assert key_phrases(text) == []
    assert degraded_versions(text, ratios=(0, 1), order=key_order(text)) is None


def test_versions_are_nested_and_keep_the_other_words():
    text = "First,  the quick\nbrown fox jumps."
    versions = degraded_versions(text, ratios=(0, 1 / 3, 2 / 3, 1), order=[3, 2, 4])
    assert [version.text for version in versions] == [
        text,
        "First,  the quick fox jumps.",
        "First,  the fox jumps.",
        "First,  the jumps.",
    ]
    for less, more in pairwise(versions):
        assert (less.removed_W <= more.removed_W).all()


def test_too_few_words_make_no_versions():
    assert degraded_versions("a b c d", ratios=(0, 1 / 3, 2 / 3, 1), order=[1, 2]) is None
    assert degraded_versions("all gone", ratios=(0, 1), order=[0, 1]) is None


def test_the_control_takes_runs_as_long_as_the_phrases_are():
    sizes = [len(phrase.words) for phrase in key_phrases(ABSTRACT)]
    assert max(sizes) == 3
    order = random_order(ABSTRACT, rng=np.random.default_rng(0))
    for size in sizes:
        run, order = order[:size], order[size:]
        assert run == list(range(run[0], run[0] + size))
    # with hardly any room, words are taken one by one, and none twice
    tight = "linear equations of numbers"
    for seed in range(20):
        taken = random_order(tight, rng=np.random.default_rng(seed))
        assert len(taken) == len(set(taken)) == len(key_order(tight))
        assert set(taken) <= set(range(len(words_of(tight))))


def test_the_control_takes_any_words_but_as_many():
    orders = [random_order(ABSTRACT, rng=np.random.default_rng(seed)) for seed in range(5)]
    assert {len(order) for order in orders} == {len(key_order(ABSTRACT))}
    assert len({tuple(order) for order in orders}) == 5
    assert all(len(set(order)) == len(order) for order in orders)
