"""verl's reward function: a Tamis server's score, or that of a checkpoint in this process.

verl hands over a response without its prompt; `prompts.py` puts the prompt into ``extra_info``.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

TIMEOUT_S = 180


def compute_score(
    data_source: Any = None,  # noqa: ARG001
    solution_str: str = "",
    ground_truth: Any = None,  # noqa: ARG001
    extra_info: Mapping[str, Any] | None = None,
    *,
    url: str | None = None,
    checkpoint: str | None = None,
    clip: float | None = None,
    **_: Any,
) -> dict[str, float]:
    """Return ``score``, what verl trains on, and ``raw``, the reward model's own number.

    Args:
        data_source: not read.
        solution_str: the response.
        ground_truth: not read.
        extra_info: with ``prompt``, a list of messages.
        url: of the server, such as ``http://127.0.0.1:8766``.
        checkpoint: of the reward model, where there is no server.
        clip: the score is then the standardised one, cut to plus and minus this: zero and unit of
            raw scores are one model's own. ``None``: the raw one, as it is.

    Raises:
        ValueError: the reward model does not record what standardises its scores.
    """
    prompt = [dict(turn) for turn in (extra_info or {})["prompt"]]
    found = _asked(url, prompt, solution_str) if url else _own(checkpoint, prompt, solution_str)
    raw, standardised = found["raw"], found["standardised"]
    if raw is None or (clip is not None and standardised is None):
        raise ValueError(
            "the reward model records no mean and standard deviation of its scores, which clip "
            "needs; expected a checkpoint of `tamis train`, or no clip"
        )
    if clip is None or standardised is None:
        return {"score": raw, "raw": raw}
    return {"score": max(-clip, min(clip, standardised)), "raw": raw}


def _asked(url: str, prompt: list[dict[str, str]], response: str) -> dict[str, float | None]:
    body = json.dumps({"messages": prompt, "candidates": [response]}).encode()
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v1/rewards", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        (candidate,) = json.load(answer)["candidates"]
    return {"raw": candidate["raw"], "standardised": candidate["standardised"]}


def _own(
    checkpoint: str | None, prompt: list[dict[str, str]], response: str
) -> dict[str, float | None]:
    from tamis.serve.verl import compute_score as score

    found = score(solution_str=response, extra_info={"prompt": prompt}, checkpoint=checkpoint)
    return {"raw": found["score"], "standardised": found.get("standardised")}
