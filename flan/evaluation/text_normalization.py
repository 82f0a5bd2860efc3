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


def drop_normalize(text: str) -> str:
    """DROP's normal form: as SQuAD's, but numbers keep their point and are written alike.

    Words end at spaces and hyphens; "14" becomes "14.0", "1.50" becomes "1.5", "12%" "12.0".
    Source: the evaluation script of DROP (arXiv 1903.00161).
    """
    words = (_drop_word(word) for word in re.split("[ -]", text.lower()))
    return " ".join(word for word in words if word)


def _drop_word(word: str) -> str:
    if not is_number(word):
        word = word.translate(_PUNCTUATION)
    if is_number(word):
        word = str(float(word))
    return " ".join(_ARTICLES.sub(" ", word).split())


def is_number(text: str) -> bool:
    """Whether Python reads a text as a float."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def drop_f1(prediction: str, reference: str) -> float:
    """DROP's F1 of the two texts' normalised words as sets, in [0, 1], to two digits.

    0 where the reference has numbers and the prediction none of them.
    """
    predicted, gold = (set(drop_normalize(text).split()) for text in (prediction, reference))
    numbers = {word for word in gold if is_number(word)}
    if numbers and not numbers & predicted:
        return 0.0
    common = len(predicted & gold)
    precision = common / len(predicted) if predicted else 1.0
    recall = common / len(gold) if gold else 1.0
    both = precision + recall
    return round(2 * precision * recall / both, 2) if both else 0.0


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the two texts' normalised words as bags, in [0, 1].

    Where one side has no words left, 1.0 if the other has none either and 0.0 otherwise.
    """
    predicted, gold = squad_normalize(prediction).split(), squad_normalize(reference).split()
    if not predicted or not gold:
        return float(predicted == gold)
    common = (collections.Counter(predicted) & collections.Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))
