"""SentencePiece BPE pieces as a `tokenizers.Tokenizer`, which Hugging Face programs load."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

SPACE_MARK = "\u2581"
# SentencePiece's piece types.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
# Characters of a piece. SentencePiece makes pieces of 16, its models have some of 100; each
# way to make a piece of two is tried, which takes the square of this.
_LONGEST = 1_000


def piece_tokenizer(
    pieces: Sequence[str], scores: Sequence[float], types: Sequence[int], *, space_first: bool
) -> tokenizers.Tokenizer:
    """A tokenizer that merges as SentencePiece does: the pair with the best score first.

    Args:
      pieces, scores, types: of each id.
      space_first: a space is put before a text.

    Special and user-defined pieces are left for the caller to add. Raises ValueError
    without an unknown piece, for scores that are no numbers and for an endless piece.
    """
    if not all(isinstance(score, int | float) and score == score for score in scores):
        raise ValueError("the pieces' scores should be numbers")
    if longest := next((piece for piece in pieces if len(piece) > _LONGEST), None):
        raise ValueError(
            f"a piece has {len(longest):,} characters ({longest[:20]!r}...), more than {_LONGEST:,}"
        )
    unknown = [i for i, kind in enumerate(types) if kind == UNKNOWN]
    if not unknown:
        raise ValueError("none of the pieces is the unknown one")
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    model = models.BPE(
        vocabulary,
        _merges(vocabulary, scores, types),
        unk_token=pieces[unknown[0]],
        fuse_unk=True,
        byte_fallback=BYTE in types,
    )
    tokenizer = tokenizers.Tokenizer(model)
    marks: list[Any] = [normalizers.Prepend(SPACE_MARK)] if space_first else []
    tokenizer.normalizer = normalizers.Sequence([*marks, normalizers.Replace(" ", SPACE_MARK)])
    steps: list[Any] = [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if space_first:
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def defined_piece(piece: str, space_first: bool) -> AddedToken:
    """A user-defined piece for `add_tokens`: a text is cut wherever it stands.

    Raises ValueError for one with a space where a space is put before a text: `tokenizers`
    would put one before the piece as well.
    """
    spaces = SPACE_MARK in piece or " " in piece
    if spaces and space_first:
        raise ValueError(f"the user-defined piece {piece!r} cannot be kept: it has a space")
    # Looked for in the text whose spaces are marks already, which is how pieces are written.
    return AddedToken(piece, normalized=spaces)


def _merges(
    vocabulary: dict[str, int], scores: Sequence[float], types: Sequence[int]
) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, the best piece first.

    Equal scores go by id, and the ways of one piece by the ids of its parts.
    """
    mergeable = {p: i for p, i in vocabulary.items() if types[i] in (NORMAL, USER_DEFINED, UNUSED)}
    found = []
    for piece, i in mergeable.items():
        if types[i] == USER_DEFINED:
            continue
        for cut in range(1, len(piece)):
            left, right = mergeable.get(piece[:cut]), mergeable.get(piece[cut:])
            if left is not None and right is not None:
                found.append((-scores[i], i, left, right, piece[:cut], piece[cut:]))
    found.sort(key=lambda f: f[:4])
    return [pair for pair, _ in itertools.groupby((f[4], f[5]) for f in found)]
