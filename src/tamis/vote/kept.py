"""Votes that outlive the vote they were cast in, so that voters can be added to it.

A voter's votes depend on the pairs, the model, the seed, the settings, and on the pairs that it
learns from; on the other voters only as far as they share out the pairs (`balanced_halves`). So a
later vote with more voters casts only what is missing, one with fewer takes the first, and one that
was interrupted loses nothing that was finished, whatever number it goes on to.

Shape legend: R pairs that a member reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.runs import write_array, write_text
from tamis.runs.stage import KEY
from tamis.vote.ballots import Member

NO_VOTE = ""  # the key of no vote: a crash while old votes are removed leaves none of them
REMEDY = "remove the file, and they are cast again"

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class KeptVotes:
    """The votes of members in a folder, one file each, all of them cast under one key.

    The key stands for everything that votes depend on beside the member and what it learns from.
    Votes of another key are not seen, and are removed when the first of this key are written.
    """

    folder: Path
    key: str

    def missing(
        self, members: Sequence[Member], *, unit: Literal["member", "voter"]
    ) -> list[Member]:
        """Return the members whose votes are not here.

        With the unit ``voter``, all members of a voter are missing where one is: they are trained
        together.
        """
        if not self._is_current():
            return list(members)
        lacking = [member for member in members if not self._path(member).is_file()]
        if unit == "member":
            return lacking
        voters = {member.voter for member in lacking}
        return [member for member in members if member.voter in voters]

    def read(self, member: Member) -> Floats:
        """Return the votes of a member that is not missing [R].

        Raises:
            DataError: the file is damaged.
        """
        path, num_read = self._path(member), int(member.reads_N.sum())
        try:
            votes_R = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: expected an array of votes: {error}; {REMEDY}") from error
        if votes_R.shape != (num_read,):
            raise DataError(
                f"{path}: expected {num_read} votes, found shape {votes_R.shape}; {REMEDY}"
            )
        return np.asarray(votes_R, np.float64)

    def write(self, member: Member, votes_R: Floats) -> None:
        """Keep the votes of a member.

        Raises:
            ConfigError: the folder cannot be written.
        """
        if not self._is_current():
            self._start_anew()
        write_array(self._path(member), votes_R)

    def _path(self, member: Member) -> Path:
        learnt = hashlib.sha256(np.packbits(member.trains_N).tobytes()).hexdigest()
        return self.folder / f"{member.name}-{learnt[:12]}.npy"

    def _is_current(self) -> bool:
        path = self.folder / KEY
        return path.is_file() and path.read_text(encoding="utf-8") == self.key

    def _start_anew(self) -> None:
        write_text(self.folder / KEY, NO_VOTE)
        for pattern in ("*.npy", ".*.tmp"):
            for path in self.folder.glob(pattern):
                path.unlink()
        write_text(self.folder / KEY, self.key)


def with_kept(
    fresh: Iterable[Floats],
    *,
    members: Sequence[Member],
    missing: Sequence[Member],
    kept: KeptVotes,
) -> Iterator[Floats]:
    """Yield the votes of all members in their order: kept ones, and ``fresh`` ones of the missing.

    Fresh votes are kept before the next are asked for. Those of a voter that diverged are not:
    ``collect`` refuses them.

    Raises:
        DataError: a file of kept votes is damaged.
    """
    names = {member.name for member in missing}
    coming = iter(fresh)
    for member in members:
        if member.name not in names:
            yield kept.read(member)
            continue
        votes_R = next(coming)
        if np.isfinite(votes_R).all():
            kept.write(member, votes_R)
        yield votes_R
    next(coming, None)  # the last voter clears its scratch away
