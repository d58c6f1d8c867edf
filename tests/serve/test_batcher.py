"""The scoring threads: order, company, cancellation, errors, and the end."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from tamis.serve.batcher import REST_TEXTS, Batcher


def value_of(ids):
    return sum(ids) + ids[0] / 1000


class Model:
    """Scores by a rule, notes its batches, and can be held back."""

    def __init__(self, *, fails_on=None):
        self.batches, self.fails_on = [], fails_on
        self.go = threading.Event()
        self.go.set()
        self.began = threading.Event()

    def __call__(self, sequences):
        self.began.set()
        assert self.go.wait(60)
        self.batches.append(list(sequences))
        if self.fails_on in sequences:
            raise ValueError(f"cannot score {self.fails_on}")
        return np.array([value_of(ids) for ids in sequences])


def first_few(waiting):
    return list(range(min(4, len(waiting))))


@pytest.fixture
def batcher():
    made = []

    def make(model, **settings):
        made.append(Batcher(model, choose=settings.pop("choose", first_few), **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("num_threads", [1, 3])
def test_many_threads_get_their_own_scores_in_their_own_order(batcher, num_threads):
    def last_and_first(waiting):
        return [len(waiting) - 1, 0][: len(waiting)]

    scorer = batcher(Model(), choose=last_and_first, num_threads=num_threads)
    wrong = []

    def ask(number):
        for size in (1, 3, 7):
            asked = [(number, place, size) for place in range(size)]
            found = scorer.submit(asked).result(60)
            if found.tolist() != [value_of(ids) for ids in asked]:
                wrong.append((asked, found))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_what_waits_goes_together(batcher):
    model = Model()
    model.go.clear()
    scorer = batcher(model)
    futures = [scorer.submit([(0,)])]
    assert model.began.wait(60)
    futures += [scorer.submit([(number,)]) for number in range(1, 5)]
    model.go.set()
    assert [future.result(60)[0] for future in futures] == [value_of((n,)) for n in range(5)]
    assert [len(batch) for batch in model.batches] == [1, 4]


def test_passes_go_side_by_side_and_share_a_request(batcher):
    both = threading.Barrier(2)
    told = []

    def score(sequences):
        both.wait(60)
        return np.array([value_of(ids) for ids in sequences])

    scorer = batcher(score, num_threads=2, before=told.append)
    asked = [(number,) for number in range(8)]  # two passes of four
    assert scorer.submit(asked).result(60).tolist() == [value_of(ids) for ids in asked]
    assert told == [False, False]  # something waited, then another was under way


def test_a_pass_that_is_alone_is_told_so(batcher):
    told = []
    scorer = batcher(Model(), num_threads=2, before=told.append)
    for number in range(3):
        scorer.submit([(number,)]).result(60)
    assert told == [True, True, True]


def test_two_passes_that_fail_fail_a_request_once(batcher):
    both = threading.Barrier(2)

    def score(sequences):
        both.wait(60)
        raise ValueError("cannot score")

    scorer = batcher(score, num_threads=2, choose=lambda waiting: [0])
    future = scorer.submit([(1,), (2,)])
    with pytest.raises(ValueError, match="cannot score"):
        future.result(60)


def test_a_busy_thread_rests_where_no_pass_is_under_way(batcher):
    under_way, seen, lock = [], [], threading.Lock()

    def score(sequences):
        with lock:
            under_way.append(sequences)
        time.sleep(0.002)
        with lock:
            under_way.remove(sequences)
        return np.array([value_of(ids) for ids in sequences])

    scorer = batcher(score, num_threads=2, rest=lambda: seen.append(len(under_way)))
    asked = [(number,) for number in range(2 * REST_TEXTS)]
    scorer.submit(asked).result(60)
    scorer.close()
    assert seen == [0, 0]


def test_an_idle_thread_waits_for_company(batcher):
    model = Model()
    scorer = batcher(model, gather_s=60.0, enough_tokens=2)
    first = scorer.submit([(1,)])
    assert not model.began.wait(0.05)
    second = scorer.submit([(2,)])
    assert first.result(60).tolist() + second.result(60).tolist() == [1.001, 2.002]
    assert len(model.batches) == 1


def test_but_not_for_long(batcher):
    started = time.monotonic()
    batcher(Model(), gather_s=0.2).submit([(1,)]).result(60)
    assert time.monotonic() - started >= 0.15
    batcher(Model(), gather_s=600.0, enough_tokens=1).submit([(2,)]).result(60)


def test_what_is_cancelled_costs_no_pass(batcher):
    model = Model()
    model.go.clear()
    scorer = batcher(model)
    first = scorer.submit([(0,)])
    assert model.began.wait(60)
    left, stays = scorer.submit([(1,), (2,)]), scorer.submit([(3,)])
    assert left.cancel()
    assert first.cancel()  # its pass has begun; nobody is told
    model.go.set()
    assert stays.result(60).tolist() == [value_of((3,))]
    with pytest.raises(CancelledError):
        left.result(0)
    assert model.batches == [[(0,)], [(3,)]]


def test_an_error_reaches_its_request_alone(batcher):
    model = Model(fails_on=(2,))
    model.go.clear()
    scorer = batcher(model)
    futures = [scorer.submit([(0,)])]
    assert model.began.wait(60)
    futures += [scorer.submit([(1,)]), scorer.submit([(2,), (5,)]), scorer.submit([(3,)])]
    model.go.set()
    assert [futures[place].result(60).tolist() for place in (0, 1, 3)] == [[0.0], [1.001], [3.003]]
    with pytest.raises(ValueError, match="cannot score"):
        futures[2].result(60)
    assert scorer.submit([(4,)]).result(60).tolist() == [4.004]  # and the thread lives on


def test_whatever_fails_the_thread_lives_on(batcher):
    def choose(waiting):
        if (7,) in waiting:
            raise ValueError("cannot choose")
        return first_few(waiting)

    def done(_):
        raise OSError("no space left for counters")

    scorer = batcher(Model(), choose=choose, done=done)
    assert scorer.submit([(1,)]).result(60).tolist() == [1.001]
    with pytest.raises(ValueError, match="cannot choose"):
        scorer.submit([(7,)]).result(60)
    assert scorer.submit([(2,)]).result(60).tolist() == [2.002]


def test_who_has_an_answer_finds_it_counted(batcher):
    counted = []

    def done(batch):
        time.sleep(0.05)
        counted.append(batch.num_texts)

    batcher(Model(), done=done).submit([(1,), (2,)]).result(60)
    assert counted == [2]


def test_a_score_too_few_is_an_error_of_its_request(batcher):
    scorer = batcher(lambda sequences: np.zeros(len(sequences) - 1))
    with pytest.raises(ValueError, match="zip"):
        scorer.submit([(1,)]).result(60)


def test_the_end_waits_for_what_was_taken(batcher):
    model = Model()
    model.go.clear()
    scorer = batcher(model)
    futures = [scorer.submit([(number,)]) for number in range(9)]
    closing = threading.Thread(target=scorer.close)
    closing.start()
    model.go.set()
    closing.join(60)
    assert not closing.is_alive()
    assert [future.result(0)[0] for future in futures] == [value_of((n,)) for n in range(9)]
    with pytest.raises(RuntimeError, match="closed"):
        scorer.submit([(1,)])


def test_nothing_to_score_is_answered_at_once(batcher):
    model = Model()
    assert batcher(model).submit([]).result(0).tolist() == []
    assert not model.batches
