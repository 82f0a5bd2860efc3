"""Normal forms of short answers, so that "The Eiffel Tower." equals "eiffel tower"."""

from __future__ import annotations

import collections
import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def squad_normalize(text: str) -> str:
    """SQuAD's normal form: lower case, no ASCII punctuation, no articles, single spaces.

    Punctuation goes before the articles, as in the official script, so "the-" is an
    article and "A.I." is not. Not for numbers with a sign: "-5" and "5" become equal.
    """
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the two texts' normalised words as bags, in [0, 1].

    Where one side has no words left, 1.0 if the other has none either and 0.0 otherwise.
    """
    predicted, gold = squad_normalize(prediction).split(), squad_normalize(reference).split()
    if not predicted or not gold:
        return float(predicted == gold)
    common = (collections.Counter(predicted) & collections.Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))
