"""What to resample for the intervals of a benchmark.

Shapes: N items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.metrics import cluster_ids

MIN_GROUPS = 20


def item_clusters(items: pa.Table) -> npt.NDArray[np.int64]:
    """Return clusters of the items of a benchmark: groups or pairs ``[N]``, or texts ``[N, 2]``.

    Groups (prompts) are the rule. With fewer than 20 of them a bootstrap over groups says little;
    where texts recur, it then runs over the two texts of each pair instead, and speaks of other
    texts under the same prompts. A single group says nothing at all, so that a few texts that recur
    are enough there, and with none of them pairs are taken for independent.
    """
    group_N = cluster_ids(items["group"].to_pylist())
    texts_N2 = np.stack([items[f"text_{side}"].to_numpy() for side in ("chosen", "rejected")], 1)
    num_groups, num_texts = len(np.unique(group_N)), len(np.unique(texts_N2))
    if num_groups == 1:
        return texts_N2 if num_texts < texts_N2.size else np.arange(len(group_N))
    return texts_N2 if num_groups < MIN_GROUPS and num_texts < len(group_N) else group_N
