"""What each page says, as plain values: the page is made of them, and its JSON twin is them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tamis.errors import ConfigError
from tamis.review.agreement import couples, mean_kappa
from tamis.review.book import Verdicts
from tamis.review.diff import Turn, compare, plain
from tamis.review.export import FILES, progress_of
from tamis.review.filters import ORDERS, STATUSES, Filters, Selection, select
from tamis.review.session import NoSuchPairError, Review, Side
from tamis.types import Conversation, Pair

PAGE_SIZE = 20
OPENING_CHARS = 160
LIKE_ENOUGH = 0.3  # answers with fewer words in common are shown without marks


def queue_page(review: Review, *, reviewer: str, filters: Filters, page: int = 1) -> dict[str, Any]:
    """Return the list of pairs with progress and agreement.

    Raises:
        ConfigError: the filters ask for what a blind review hides.
    """
    verdicts = review.verdicts()
    selection = _selection(review, filters, verdicts=verdicts, reviewer=reviewer)
    num_pages = max(1, -(-len(selection.shown) // PAGE_SIZE))
    page = min(max(page, 1), num_pages)
    ranks = selection.shown[(page - 1) * PAGE_SIZE : page * PAGE_SIZE].tolist()
    wanted = filters.model_copy(update={"status": "open"})
    todo = _selection(review, wanted, verdicts=verdicts, reviewer=reviewer).shown
    compared = couples(verdicts)
    return {
        "reviewer": reviewer,
        "blind": review.blind,
        "filters": _filters(review, filters),
        "start": _pair_address(int(todo[0]), wanted) if len(todo) else None,
        "progress": _progress(review, selection, verdicts=verdicts, reviewer=reviewer),
        "reviewers": progress_of(verdicts),
        "agreement": [asdict(couple) for couple in compared],
        "mean_kappa": mean_kappa(compared),
        "num_shown": len(selection.shown),
        "page": page,
        "num_pages": num_pages,
        "pairs": [
            {
                **_line(review, rank, pair=pair),
                **_said(review, pair, verdicts=verdicts, reviewer=reviewer),
                "address": _pair_address(rank, filters),
            }
            for rank, pair in zip(ranks, review.queue.pairs(ranks), strict=True)
        ],
    }


def pair_page(review: Review, rank: int, *, reviewer: str, filters: Filters) -> dict[str, Any]:
    """Return one pair with all that is known of it, and the way to its neighbours.

    Raises:
        NoSuchPairError: there is no pair with this rank.
        ConfigError: the filters ask for what a blind review hides.
    """
    if not 1 <= rank <= len(review.queue):
        raise NoSuchPairError(f"there is no such pair; they are 1 to {len(review.queue)}")
    verdicts = review.verdicts()
    selection = _selection(review, filters, verdicts=verdicts, reviewer=reviewer, at=rank)
    (pair,) = review.queue.pairs([rank])
    return {
        "reviewer": reviewer,
        "blind": review.blind,
        "filters": _filters(review, filters),
        "rank": rank,
        "id": pair.id,
        "subset": pair.subset,
        "source": pair.source,
        "prompt": [asdict(turn) for turn in plain(pair.prompt)],
        **_answers(review, pair, reviewer=reviewer),
        **({} if review.blind else _evidence(review, rank, pair=pair)),
        **_said(review, pair, verdicts=verdicts, reviewer=reviewer),
        "next": selection.next and _pair_address(selection.next, filters),
        "previous": selection.previous and _pair_address(selection.previous, filters),
        "list": f"/{filters.query}",
        "last": _last(review, reviewer=reviewer, filters=filters),
        "progress": _progress(review, selection, verdicts=verdicts, reviewer=reviewer),
    }


def export_page(review: Review, *, reviewer: str) -> dict[str, Any]:
    """Return what there is to write, and how far everybody is."""
    verdicts = review.verdicts()
    return {
        "reviewer": reviewer,
        "num_pairs": len(review.queue),
        "num_reviewed": len(verdicts),
        "reviewers": progress_of(verdicts),
        "has_base": review.base is not None,
        "files": [f"{review.out.name}/{name}" for name in FILES],
        "report": None,
    }


def _selection(
    review: Review, filters: Filters, *, verdicts: Verdicts, reviewer: str, at: int | None = None
) -> Selection:
    if review.blind and (filters.low is not None or filters.high is not None):
        raise ConfigError("low and high: strengths are hidden in a blind review")
    return select(review.queue, filters, verdicts=verdicts, reviewer=reviewer, at=at)


def _filters(review: Review, filters: Filters) -> dict[str, Any]:
    return {
        **filters.model_dump(),
        "query": filters.query,
        "statuses": list(STATUSES),
        "orders": list(ORDERS),
        "subsets": sorted(name for name in review.queue.subsets.names if name),
        "sources": sorted(name for name in review.queue.sources.names if name),
    }


def _progress(
    review: Review, selection: Selection, *, verdicts: Verdicts, reviewer: str
) -> dict[str, int]:
    """Count what the reviewer has judged: of all pairs, and of those the other filters leave."""
    done = [review.queue.rank_of[pair] - 1 for pair, said in verdicts.items() if reviewer in said]
    return {
        "num_pairs": len(review.queue),
        "num_done": len(done),
        "num_selected": int(selection.in_scope_N.sum()),
        "num_selected_done": int(selection.in_scope_N[done].sum()),
    }


def _line(review: Review, rank: int, *, pair: Pair) -> dict[str, Any]:
    queue = review.queue
    p_wrong_N = None if review.blind else queue.p_wrong_N
    return {
        "rank": rank,
        "id": pair.id,
        "opening": _opening(pair.prompt or pair.chosen),
        "subset": pair.subset,
        "source": pair.source,
        "strength": None if review.blind else float(queue.mean_N[rank - 1]),
        "p_wrong": None if p_wrong_N is None else float(p_wrong_N[rank - 1]),
    }


def _said(review: Review, pair: Pair, *, verdicts: Verdicts, reviewer: str) -> dict[str, Any]:
    """Return what people said; of the others, only to those who have judged the pair themselves."""
    said = verdicts.get(pair.id, {})
    shown = {
        name: review.as_shown(choice, pair_id=pair.id, reviewer=reviewer)
        for name, choice in sorted(said.items())
    }
    mine = shown.pop(reviewer, None)
    return {
        "mine": mine,
        "others": None if mine is None else shown,
        "num_reviewers": len(said),
        "disputed": mine is not None and len(set(said.values())) > 1,
    }


def _answers(review: Review, pair: Pair, *, reviewer: str) -> dict[str, Any]:
    """Return the answers as left and right, and whether their differences are worth marking."""
    sides = review.sides(reviewer, pair.id)
    texts: Mapping[Side, Conversation] = {"chosen": pair.chosen, "rejected": pair.rejected}
    found = compare(texts[sides[0]], texts[sides[1]])

    def answer(side: Side, turns: list[Turn]) -> dict[str, Any]:
        return {"label": None if review.blind else side, "turns": [asdict(turn) for turn in turns]}

    return {
        "left": answer(sides[0], found.first),
        "right": answer(sides[1], found.second),
        "similarity": found.similarity,
        "marked": found.similarity >= LIKE_ENOUGH,
    }


def _evidence(review: Review, rank: int, *, pair: Pair) -> dict[str, Any]:
    queue = review.queue
    return {
        "strength": {"mean": float(queue.mean_N[rank - 1]), "std": float(queue.std_N[rank - 1])},
        "p_wrong": None if queue.p_wrong_N is None else float(queue.p_wrong_N[rank - 1]),
        "votes": queue.votes(rank),
        "vote_scale": queue.vote_scale,
        "people": None if pair.votes is None else asdict(pair.votes),
    }


def _last(review: Review, *, reviewer: str, filters: Filters) -> dict[str, Any] | None:
    """Return the reviewer's latest decision, which they may undo."""
    found = review.book.last(reviewer, among=review.queue.rank_of)
    if found is None:
        return None
    pair_id, choice = found
    rank = review.queue.rank_of[pair_id]
    return {
        "id": pair_id,
        "rank": rank,
        "choice": review.as_shown(choice, pair_id=pair_id, reviewer=reviewer),
        "address": _pair_address(rank, filters),
    }


def _pair_address(rank: int, filters: Filters) -> str:
    return f"/pair/{rank}{filters.query}"


def _opening(conversation: Conversation) -> str:
    """Return the beginning of the last turn, on one line."""
    text = " ".join(conversation[-1].content[: 4 * OPENING_CHARS].split()) if conversation else ""
    return text if len(text) <= OPENING_CHARS else text[: OPENING_CHARS - 1].rstrip() + "…"
