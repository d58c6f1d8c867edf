"""The masks of a pass: made once, and let go with it."""

import gc

import torch
from torch import Tensor

from tamis.models.rows.attention import AttendTree, Rule
from tamis.models.rows.tree import prefix_tree

PROMPT = list(range(41))
SIZE = (37, 41 + 37)


def masks() -> list[Tensor]:
    return [found for found in gc.get_objects() if type(found) is Tensor and found.shape == SIZE]


def test_the_masks_of_a_pass_are_shared_by_its_layers_and_let_go_with_it() -> None:
    tree = prefix_tree([[*PROMPT, *range(100, 137)], [*PROMPT, *range(200, 237)]])
    attends = AttendTree(tree)
    states = torch.randn(1, 2, len(tree.token_ids), 4)
    for _ in range(3):
        attends.attend(states, key=states, value=states, rule=Rule(None, None, None))
    assert len(masks()) == 1
    del attends
    assert masks() == []
