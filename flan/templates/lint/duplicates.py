"""Templates that say the same."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from flan.templates.lint.rule import Subject, rule
from flan.templates.template import Template

# Word edits over words of the longer text. Below it, two texts read as one with a word
# or two exchanged.
NEAR = 0.2


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Insertions, deletions and substitutions between two sequences (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def words(template: Template) -> list[str]:
    """Words and holes of the input, without case and punctuation."""
    return re.findall(r"\{\w+\}|[\w'’]+", template.input.source.casefold())


@rule("near-duplicate")
def near_duplicate(subject: Subject) -> Iterator[tuple[str, str]]:
    """Two templates differ by more than a word or punctuation."""
    for first, second in itertools.combinations(subject.set.templates, 2):
        a, b = words(first), words(second)
        distance = edit_distance(a, b)
        share = distance / max(len(a), len(b), 1)
        if distance <= 1 or share < NEAR:
            what = (
                "is" if distance == 0 else f"is, but for {distance} of {max(len(a), len(b))} words,"
            )
            yield second.id, f"{what} the same as {first.id}: write another one"
            continue
        # The same words in another order: an instruction moved, not written anew.
        if sorted(a) == sorted(b):
            yield second.id, f"has the very words of {first.id} in another order"
