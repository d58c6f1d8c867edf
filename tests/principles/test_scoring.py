"""Scores under principles beside those of the conversations alone."""

import numpy as np
import pytest
from fitting import learnable

from tamis.models.checkpoint import Scorer
from tamis.models.load import load_reward_model
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer
from tamis.principles.scoring import score_under


@pytest.mark.parametrize("layout", ["prompt_first", "answer_first"])
def test_without_principles_scores_are_the_plain_ones_bit_for_bit(llama, layout):
    tokenizer, pairs = load_tokenizer(llama), learnable(6)
    model = load_reward_model(llama, seed=0, pad_token_id=tokenizer.pad_token_id)
    scorer = Scorer(model, tokenizer, 256)
    plain = score_pairs(model, tokenizer, pairs, max_length=256)
    found = score_under(scorer, pairs, texts=[], layout=layout)
    assert np.array_equal(found.chosen_N, plain.chosen_N)
    assert np.array_equal(found.rejected_N, plain.rejected_N)
    principled = score_under(scorer, pairs, texts=["Be brief."], layout=layout)
    assert (principled.chosen_N != plain.chosen_N).all()
