"""The layout itself: nothing lost, nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from tamis.models.rows.plan import RowPlan
from tamis.models.rows.tree import PrefixTree, prefix_tree

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)


def spelled(tree: PrefixTree, read: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids and positions on the path to a read token."""
    nodes = tree.paths[tree.node_of_token[read]]
    tokens = [token for token, node in enumerate(tree.node_of_token) if node in nodes]
    return (
        tuple(tree.token_ids[token] for token in tokens),
        tuple(tree.positions[token] for token in tokens),
    )


@given(TEXTS, st.integers(1, 5))
def test_every_sequence_is_spelled_by_its_path(texts: list[list[int]], min_saved: int) -> None:
    tree = prefix_tree(texts, min_saved=min_saved)
    assert len(tree.reads) == len(texts)
    for text, read in zip(texts, tree.reads, strict=True):
        ids, positions = spelled(tree, read)
        assert ids == tuple(text)
        assert positions == tuple(range(len(text)))
    assert all(parent < node for node, parent in enumerate(tree.parents))
    assert sum(tree.lengths) == len(tree.token_ids) == len(tree.positions)
    assert min(tree.lengths) > 0


@given(TEXTS)
def test_with_every_sharing_each_prefix_is_there_once(texts: list[list[int]]) -> None:
    prefixes = {tuple(text[:end]) for text in texts for end in range(1, len(text) + 1)}
    assert len(prefix_tree(texts, min_saved=1).token_ids) == len(prefixes)


@given(TEXTS)
def test_packed_rows_share_nothing_but_equal_sequences(texts: list[list[int]]) -> None:
    tree = RowPlan("packed", "").tree(texts)
    assert set(tree.parents) == {-1}
    assert len(tree.token_ids) == sum(map(len, set(map(tuple, texts))))


@given(TEXTS)
def test_the_order_of_the_sequences_changes_their_places_alone(texts: list[list[int]]) -> None:
    tree, turned = prefix_tree(texts), prefix_tree(texts[::-1])
    assert turned.token_ids == tree.token_ids
    assert turned.reads == tree.reads[::-1]


def test_little_is_not_shared() -> None:
    short = [[1, 2, 3, 4, 5], [1, 2, 3, 6, 7]]
    assert prefix_tree(short, min_saved=4).parents == (-1, -1)
    assert prefix_tree(short, min_saved=3).parents == (-1, 0, 0)


def test_a_pair_costs_prompt_and_answers_once() -> None:
    prompt, chosen, rejected = list(range(20)), [30, 31, 32], [40, 41]
    tree = prefix_tree([prompt + chosen, prompt + rejected])
    assert tree.lengths == (20, 3, 2)
    assert tree.reads == (22, 24)
    assert tree.positions[23:] == (20, 21)
