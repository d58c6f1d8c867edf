"""Which texts go together: the longest waiting one always, and good company."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import serving

from tamis.models.rows.padded import length_batches
from tamis.models.score import tree_batches
from tamis.serve.mates import CPU_TOKENS, LOOKED_AT, choose_mates

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple)
KINDS = ["shared", "packed", "padded"]


@settings(max_examples=90, deadline=None)
@given(
    waiting=st.lists(IDS, min_size=1, max_size=12),
    budget=st.integers(1, 30),
    enough=st.integers(1, 40) | st.none(),
    kind=st.sampled_from(KINDS),
)
def test_the_first_goes_and_the_budget_holds(waiting, budget, enough, kind):
    chosen = choose_mates(waiting, batch_tokens=budget, kind=kind, enough_tokens=enough)
    assert 0 in chosen
    assert len(set(chosen)) == len(chosen)
    texts = [waiting[place] for place in chosen]
    if kind == "padded":
        batches = list(length_batches([len(ids) for ids in texts], batch_tokens=budget))
    elif kind == "shared":
        batches = list(tree_batches(texts, batch_tokens=budget))
    else:
        batches = [texts] if sum(map(len, texts)) <= budget or len(texts) == 1 else []
    # what the scorer would do with them is one pass
    assert len(batches) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_waits_for_ever(kind):
    """However many shorter texts come later, the longest waiting one goes."""
    waiting, served = [(9,) * 50, *[(n % 7, 1) for n in range(30)]], []
    for round_ in range(4):
        chosen = choose_mates(waiting, batch_tokens=60, kind=kind, enough_tokens=20)
        served.append(waiting[0] in [waiting[place] for place in chosen])
        left = [ids for place, ids in enumerate(waiting) if place not in chosen]
        waiting = [*left, *[(n % 7, round_) for n in range(30)]]
    assert all(served)


def test_company_is_of_like_length_where_rows_are_padded():
    waiting = [(1,) * 5, (1,) * 50, (1,) * 6, (1,) * 49, (1,) * 4]
    assert sorted(choose_mates(waiting, batch_tokens=100, kind="padded")) == [0, 2, 4]


def test_company_shares_a_prompt_where_prefixes_are_shared():
    prompt, another = (7,) * 20, (8,) * 20
    waiting = [(*prompt, 1), (*another, 1), (*prompt, 2)]
    assert choose_mates(waiting, batch_tokens=42, kind="shared") == [0, 2]


def test_a_family_meets_however_long_its_texts_are_together():
    """The prompt is there once, so its many texts are no reason to leave one of them behind."""
    prompts = [(prompt,) * 80 for prompt in range(8)]
    # sixteen texts of 100 tokens wait between the first answer to a prompt and the last one
    waiting = [(*prompts[n % 8], *range(100 + n, 120 + n)) for n in range(24)]
    chosen = choose_mates(waiting, batch_tokens=400, kind="shared", enough_tokens=100)
    assert chosen == [0, 8, 16]
    chosen = choose_mates(waiting, batch_tokens=400, kind="shared", enough_tokens=150)
    assert chosen == [0, 8, 16, 1, 9, 17]


@pytest.mark.parametrize("kind", ["shared", "packed"])
def test_texts_go_by_age_although_shorter_ones_wait_too(kind):
    waiting = [(1,) * 30, (2,) * 40, (3,) * 5, (1, 2) * 5, (4,) * 30]
    assert choose_mates(waiting, batch_tokens=100, kind=kind, enough_tokens=60) == [0, 1]


def test_a_system_prompt_makes_no_family():
    system = (5,) * 100
    waiting = [(*system, *(n,) * 30) for n in range(10, 14)]
    waiting.append((*system, *(10,) * 20, *(7,) * 10))  # shares more than that with the first
    found = choose_mates(waiting, batch_tokens=1000, kind="shared", enough_tokens=35)
    assert found == [0, 4]
    # and it is no part of what is enough
    found = choose_mates(waiting, batch_tokens=1000, kind="shared", enough_tokens=41)
    assert found == [0, 4, 1]


def test_a_family_ends_too():
    waiting = [(*(1,) * 50, *(n,) * 50) for n in range(10, 30)] + [(2,) * 9] * 20
    found = choose_mates(waiting, batch_tokens=4000, kind="shared", enough_tokens=150)
    assert found == [0, 1, 2, 3, 4]  # 50 and 5 times 50, of twice 150


def test_late_texts_do_not_pass_those_that_have_waited():
    waiting = [(1,) * 10, (1,) * 40, (1,) * 40, (1,) * 10]
    assert choose_mates(waiting, batch_tokens=50, kind="padded") == [0]
    assert choose_mates(waiting, batch_tokens=70, kind="padded") == [0, 3]


def test_a_padded_pass_ends_when_it_has_enough():
    waiting = [(1,) * 10] * 20
    found = choose_mates(waiting, batch_tokens=100, kind="padded", enough_tokens=40)
    assert len(found) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_is_too_long_goes_alone(kind):
    assert choose_mates([(1,) * 9, (2,)], batch_tokens=4, kind=kind) == [0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_queue_costs_no_more_to_look_at(kind):
    waiting = [(n,) for n in range(LOOKED_AT + 5)]
    found = choose_mates(waiting, batch_tokens=10**6, kind=kind)
    assert sorted(found) == list(range(LOOKED_AT))


def test_a_server_on_a_cpu_ends_a_pass_when_it_has_enough(member):
    with serving(member) as served:
        texts = [f"{number} {'fox ' * (20 + number % 7)}" for number in range(300)]
        served.post("/classify", {"input": texts})
        num_tokens = served.figure('tamis_tokens_total{model="rm"}')
        num_passes = served.figure('tamis_batch_texts_count{model="rm"}')
    assert num_tokens > 4 * CPU_TOKENS
    assert num_tokens / CPU_TOKENS - 1 <= num_passes <= num_tokens / CPU_TOKENS + 1
