from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from tamis.errors import ConfigError
from tamis.studies.shift.material import DIFFICULTIES, Sizes, first_question, read_material
from tamis.studies.shift.plan import shift_plan

SMALL = Sizes(
    num_train=20,
    num_pool=40,
    num_held_out=24,
    per_set=24,
    num_prompts=10,
    num_meta=12,
    num_proxy=10,
)
OUT = {
    "HHH-Alignment",
    "LLMBar natural",
    "MT-bench human",
    "XSTest",
    "RM-Bench safety",
    "RM-Bench code",
}


@pytest.fixture(scope="module")
def material(small_data):
    return read_material(small_data, sizes=SMALL)


def changed(**more):
    return SMALL.model_copy(update=more)


def parts_of(prompts):
    return Counter(prompt[0].content.split()[0] for prompt in prompts)


def test_half_of_what_is_drawn_is_of_each_part(material):
    half = {"helpful": 10, "harmless": 10}
    assert parts_of([pair.prompt for pair in material.train(0)]) == half
    assert parts_of(material.meta_prompts) == {"helpful": 6, "harmless": 6}
    assert parts_of(material.shift_prompts) == {"helpful": 5, "harmless": 5}
    held_out = material.sets[0]
    assert parts_of([pair.prompt for pair in held_out.pairs]) == {"helpful": 12, "harmless": 12}
    assert len(material.pool) == 80


def test_what_is_set_apart_meets_no_training(material):
    trained = {pair.prompt for seed in range(30) for pair in material.train(seed)}
    assert len(trained) == 40  # of 80: half of those that are not of the meta set, and some more
    assert not trained & set(material.meta_prompts)
    tested = {pair.prompt for one in material.sets for pair in one.pairs}
    assert not tested & (trained | set(material.meta_prompts))
    assert not tested & set(material.shift_prompts)
    assert len(set(material.meta_prompts)) == 12
    assert len(set(material.shift_prompts)) == 10


def test_judges_learn_from_pairs_of_which_no_training_and_no_other_judge_knows(material):
    trained = {pair.id for seed in range(30) for pair in material.train(seed)}
    proxy, gold = ({pair.id for pair in pairs} for pairs in (material.proxy, material.gold))
    assert (len(proxy), len(gold)) == (10, 18)
    assert not proxy & gold
    assert not (proxy | gold) & trained
    judged = {pair.prompt for pair in (*material.proxy, *material.gold)}
    assert not judged & set(material.meta_prompts)


def test_judges_learn_from_no_conversation_that_opens_with_an_answered_question(small_data):
    all_answered = Sizes(
        num_train=20,
        num_pool=20,
        num_held_out=20,
        per_set=24,
        num_prompts=58,
        num_meta=4,
        num_proxy=10,
    )
    material = read_material(small_data, sizes=all_answered)
    asked = {first_question(prompt) for prompt in material.shift_prompts}
    opening = next(pair for pair in material.pool if len(pair.prompt) == 3)
    assert first_question(opening.prompt) in asked
    drawn = {pair.id for part in material.parts for pair in part}
    assert opening.id not in drawn
    assert opening.prompt not in material.meta_prompts
    assert len(material.gold) + len(material.proxy) == 80 - 20 - 4 - 1
    assert not asked & {first_question(p.prompt) for p in (*material.gold, *material.proxy)}


def test_a_draw_is_a_function_of_its_seed(material, small_data):
    again = read_material(small_data, sizes=SMALL)
    assert again.train(3) == material.train(3) != material.train(4)
    assert (again.meta_prompts, again.shift_prompts) == (
        material.meta_prompts,
        material.shift_prompts,
    )
    assert [one.pairs for one in again.sets] == [one.pairs for one in material.sets]


def test_test_pairs_with_a_training_prompt_are_left_out_and_counted(material):
    """Case and white space do not make it another prompt."""
    assert material.num_overlapping == 1
    tested = {pair.prompt[0].content for one in material.sets for pair in one.pairs}
    assert "Helpful  FOX 3?" not in tested


def test_all_pairs_are_given_at_once(material):
    num_tested = sum(len(one.pairs) for one in material.sets)
    assert Counter(pair.split for pair in material.pairs()) == {"train": 80, "test": num_tested}


def test_sets_are_named_and_no_larger_than_asked(material):
    first, *others = material.sets
    assert (first.name, first.dataset, first.is_out) == ("HH-RLHF, held out", "HH-RLHF", False)
    assert {one.dataset for one in others} == OUT
    assert all(one.is_out for one in others)
    assert len(others) == 4 + 2 * 3
    sizes = {one.name: len(one.pairs) for one in others if "RM-Bench" not in one.name}
    short = {"HHH-Alignment": 24, "LLMBar natural": 24}
    assert sizes == {**short, "MT-bench human": 8, "XSTest": 12}  # of long texts fewer
    for one in others:
        groups = Counter(pair.group for pair in one.pairs)
        assert set(groups.values()) == ({1} if "RM-Bench" in one.name else {2})  # whole groups


@pytest.mark.parametrize("dataset", ["RM-Bench safety", "RM-Bench code"])
def test_a_prompt_of_rm_bench_has_one_pair_of_each_difficulty(small_data, dataset):
    """What lacks a difficulty is left out; pairs share texts where they can."""
    sizes = changed(per_set=300)
    material = read_material(small_data, sizes=sizes)
    of_data = {one.name: one for one in material.sets if one.dataset == dataset}
    assert list(of_data) == [f"{dataset}, {level}" for level in DIFFICULTIES]
    groups = [[pair.group for pair in one.pairs] for one in of_data.values()]
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups[0])) == 23
    assert all(p.subset.endswith("easy") for p in of_data[f"{dataset}, easy"].pairs)
    texts = {side for one in of_data.values() for p in one.pairs for side in (p.chosen, p.rejected)}
    assert len(texts) <= 23 * 5
    fewer = read_material(small_data, sizes=changed(per_set=30))
    sets = {one.name: len(one.pairs) for one in fewer.sets if one.dataset == dataset}
    assert set(sets.values()) == {4 if "safety" in dataset else 2}


def test_clusters_are_groups_numbered_alike_or_texts_if_few(small_data):
    material = read_material(small_data, sizes=changed(per_set=300))
    of_code = [one for one in material.sets if one.dataset == "RM-Bench code"]
    number_of = {}
    for one in of_code:
        clusters = material.clusters(one)
        assert clusters.shape == (len(one.pairs),)
        for pair, cluster in zip(one.pairs, clusters.tolist(), strict=True):
            assert number_of.setdefault(pair.group, cluster) == cluster
    assert sorted(number_of.values()) == list(range(23))
    few = read_material(small_data, sizes=changed(per_set=100))
    clusters = few.clusters(next(one for one in few.sets if one.name == "RM-Bench code, hard"))
    assert clusters.shape == (8, 2)


def test_too_few_pairs_and_missing_files_are_said(small_data, tmp_path):
    with pytest.raises(ConfigError, match="hh_helpful_base: 30 pairs are asked for and 29 can"):
        read_material(small_data, sizes=changed(num_prompts=60))
    with pytest.raises(ConfigError, match="hh_helpful_base: 35 pairs are asked for and 34 can"):
        read_material(small_data, sizes=changed(num_pool=70))
    with pytest.raises(ConfigError, match=r"hh_helpful_base\.jsonl\.gz"):
        read_material(tmp_path, sizes=SMALL)
    with pytest.raises(ConfigError, match="TAMIS_DATA_DIR"):
        read_material(None, sizes=SMALL)
    with pytest.raises(ValidationError, match="num_pool is 40 and num_train 50"):
        Sizes(num_train=50, num_pool=40)


@pytest.fixture(scope="module")
def real(data_dir):
    return read_material(data_dir, sizes=Sizes())


def test_real_training_prompts_are_in_no_test_set(real):
    assert real.num_overlapping == 0
    known = {first_question(pair.prompt) for pair in real.pool}
    for one in real.sets:
        assert not known & {first_question(pair.prompt) for pair in one.pairs}, one.name
    assert not known & {first_question(prompt) for prompt in real.shift_prompts}


def test_real_sets_have_the_sizes_that_the_study_says(real):
    assert len(real.pool) == 1814 + 1795
    assert len(real.meta_prompts) == 64
    assert len(real.shift_prompts) == 48
    sizes = {one.name: len(one.pairs) for one in real.sets}
    assert sizes["HH-RLHF, held out"] == 400
    assert sizes["HHH-Alignment"] == 221
    assert sizes["LLMBar natural"] == 100
    assert sizes["MT-bench human"] == 99
    assert sizes["XSTest"] == 150
    for title, num in (("RM-Bench safety", 40), ("RM-Bench code", 24)):
        assert {sizes[f"{title}, {level}"] for level in DIFFICULTIES} == {num}
    train = real.train(0)
    assert len(train) == 480
    assert Counter("helpful" in p.subset for p in train) == {True: 240, False: 240}
    assert len(real.proxy) == 600
    assert len(real.gold) > 1400
    assert all(len(np.unique(real.clusters(one))) >= 24 for one in real.sets)


def test_the_largest_tier_reads_300_pairs_of_every_set_that_has_them(data_dir):
    material = read_material(data_dir, sizes=shift_plan("full").sizes)
    sizes = {one.name: len(one.pairs) for one in material.sets}
    assert (sizes["HHH-Alignment"], sizes["LLMBar natural"]) == (221, 100)  # all there are
    assert (sizes["MT-bench human"], sizes["XSTest"]) == (192, 280)
    for title in ("RM-Bench safety", "RM-Bench code"):
        assert {sizes[f"{title}, {level}"] for level in DIFFICULTIES} == {100}


def test_few_training_pairs_are_those_of_two_seeds(real):
    first, second = ({pair.id for pair in real.train(seed)} for seed in (0, 1))
    assert len(first & second) < 0.5 * len(first)
