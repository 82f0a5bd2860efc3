"""Dev rows of a run's own datasets as packed batches: what it is scored on while it trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan.catalog.registry import get_dataset
from flan.data.assemble import assemble
from flan.data.batch import Batch, row_length
from flan.data.best_fit import pack
from flan.data.phrasing import Phraser
from flan.data.prepare import Prepared
from flan.data.row_cache import RowCache
from flan.data.tokenization import tokenize
from flan.data.vocabulary import Vocabulary
from flan.templates.exemplars import ExemplarPool
from flan.templates.load import load_templates
from flan.templates.template import Rendered


@dataclasses.dataclass(frozen=True)
class DevRow:
    """A row to be scored.

    Attributes:
      dataset: whose.
      first: place of its first example among `DevExamples.tokens`; a row with options has
        one for each.
      count: how many examples it has.
      right: which of them is the right answer.
    """

    dataset: str
    first: int
    count: int
    right: int


@dataclasses.dataclass(frozen=True)
class DevExamples:
    """Tokenized dev rows.

    Attributes:
      rows: in the order of the datasets.
      tokens: int32 arrays, inputs + EOS + answer + EOS each.
      input_lengths: tokens of each one's inputs with their EOS.
      length: tokens of a packed row.
      bos_id: what the model reads at an example's first place.
    """

    rows: tuple[DevRow, ...]
    tokens: tuple[np.ndarray, ...]
    input_lengths: np.ndarray
    length: int
    bos_id: int

    def after(self, prefix: Sequence[int]) -> DevExamples:
        """The same with tokens before each example, which count as inputs (a soft prompt's places)."""
        if not prefix:
            return self
        head = np.array(prefix, np.int32)
        return dataclasses.replace(
            self,
            tokens=tuple(np.concatenate([head, example]) for example in self.tokens),
            input_lengths=self.input_lengths + len(head),
            length=row_length(self.length, len(head)),
        )

    def batches(self, batch_size: int) -> tuple[list[Batch], np.ndarray, int]:
        """All examples in batches of the same shape.

        Args:
          batch_size: packed rows of a batch; the last batch is filled up with empty ones.

        Returns:
          The batches; int64 `[examples]`, their order in them; loss positions of a packed
          row at most.
        """
        lengths = np.array([len(t) for t in self.tokens], np.int64)
        targets = lengths - self.input_lengths
        # A quarter of the places: less bounds the packing, more costs logits.
        most = max(int(targets.max()), self.length // 4)
        packed = pack(lengths, targets, row_length=self.length, max_targets=most)
        missing = -len(packed.counts) % batch_size
        counts = np.concatenate([packed.counts, np.zeros(missing, np.int64)])
        ends = np.concatenate([[0], np.cumsum(counts)])
        batches = []
        for row in range(0, len(counts), batch_size):
            places = packed.items[ends[row] : ends[row + batch_size]]
            batches.append(
                assemble(
                    [self.tokens[p] for p in places],
                    self.input_lengths[places],
                    counts[row : row + batch_size],
                    self.length,
                    self.bos_id,
                )
            )
        return batches, packed.items, most


def dev_examples(
    prepared: Prepared,
    datasets: Sequence[str],
    vocabulary: Vocabulary,
    *,
    rendering: str,
    template: str | None = None,
    num_templates: int | None = None,
    input_length: int,
    target_length: int,
    limit: int,
    seed: int,
) -> DevExamples | None:
    """Some dev rows of each dataset, phrased as the run phrases its training rows.

    Each row gets one template, always the same, and never an inverted one. Exemplars come
    from training rows. A row whose answer is one of several options has an example for each
    option.

    Args:
      prepared: row caches of the dev splits, and of the training splits for exemplars.
      datasets: names; those without dev rows are passed over, and so is one whose only
        templates are inverted.
      vocabulary: tokenizes.
      rendering, template, num_templates: as in `Phraser`; `text` gives loss on every token.
      input_length, target_length: tokens at most, EOS included.
      limit: rows of a dataset at most, evenly spread over its sources and their rows.
      seed: of the choice of templates and exemplars.

    Returns:
      None where there are no such rows.
    """
    rows: list[DevRow] = []
    tokens: list[np.ndarray] = []
    input_lengths: list[int] = []
    whole = rendering == "text"
    for name in datasets:
        known = load_templates(name)
        usable = [known.get(template)] if template else known.templates[:num_templates]
        if all(one.kind != "forward" for one in usable):
            continue
        dataset = get_dataset(name)
        phraser = Phraser(
            dataset,
            rendering,
            seed=seed,
            template=template,
            num_templates=num_templates,
            forward_only=not whole,
        )
        if phraser.rendering.shots:
            train = [f for cache in prepared.open_rows(name, "train").values() for f in cache]
            phraser.use_exemplars(
                ExemplarPool(dataset, train, seed),
                lambda t: len(vocabulary.encode(t)),
                input_length,
            )
        for source, cache, place in _spread(prepared.open_rows(name, "dev"), limit):
            row_id = int(cache.row_ids[place])
            rendered = phraser.phrase(cache.fields(place), source, row_id, 0)[1]
            answers, right = ([rendered], 0) if whole else _answers(rendered)
            made = tokenize(vocabulary, answers, input_length, target_length)
            rows.append(DevRow(name, len(tokens), len(answers), right))
            tokens += np.split(made.tokens, np.cumsum(made.lengths)[:-1])
            input_lengths += [0] * len(answers) if whole else made.input_lengths.tolist()
    if not rows:
        return None
    length = input_length if whole else input_length + target_length
    return DevExamples(
        tuple(rows), tuple(tokens), np.array(input_lengths, np.int64), length, vocabulary.bos_id
    )


def _answers(rendered: Rendered) -> tuple[list[Rendered], int]:
    """The example with each of its options as the answer, and which is right."""
    if rendered.label is None or len(set(rendered.options)) < 2:
        return [rendered], 0
    answers = [dataclasses.replace(rendered, target=option) for option in rendered.options]
    return answers, rendered.label


def _spread(caches: dict[str, RowCache], limit: int) -> list[tuple[str, RowCache, int]]:
    """At most `limit` (source, cache, place), evenly over all rows."""
    places = [(s, cache, place) for s, cache in caches.items() for place in range(len(cache))]
    if len(places) <= limit:
        return places
    return [places[i * len(places) // limit] for i in range(limit)]
