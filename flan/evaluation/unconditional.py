"""Scores of options without their examples' inputs, for PMI: computed once for each option."""

from __future__ import annotations

from collections.abc import Sequence

from flan.evaluation.prompts import RankRequest

Option = tuple[int, ...]


class UnconditionalScores:
    """Log-probabilities of options after an empty input, kept from call to call.

    The templates of a dataset ask for the same options again and again.
    """

    def __init__(self, most: int = 200_000) -> None:
        """Keeps `most` options; the oldest go first."""
        self._known: dict[tuple[Option, Option], float] = {}
        self._most = most

    def __contains__(self, key: tuple[Option, Option]) -> bool:
        return key in self._known

    def __getitem__(self, key: tuple[Option, Option]) -> float:
        return self._known[key]

    def add(self, key: tuple[Option, Option], value: float) -> None:
        """Keeps the log-probability of (empty input, option)."""
        self._known[key] = value

    def trim(self) -> None:
        """Forgets the oldest beyond the limit."""
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]


def unknown_options(
    requests: Sequence[RankRequest], known: UnconditionalScores
) -> list[tuple[Option, list[Option]]]:
    """Empty inputs with the options whose scores after them are not known yet.

    In groups like those of the requests, so that they fit where those do.
    """
    seen: set[tuple[Option, Option]] = set()
    found = []
    for request in requests:
        new = [
            option
            for option in dict.fromkeys(request.options)
            if (key := (request.domain, option)) not in known and key not in seen
        ]
        seen.update((request.domain, option) for option in new)
        if new:
            found.append((request.domain, new))
    return found
