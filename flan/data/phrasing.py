"""Which template a row gets in which epoch, and the text that comes of it.

Token caches and seqio tasks phrase through this one module, so that the same row in the
same epoch is the same text in both.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from flan.catalog.dataset import Dataset, Fields
from flan.catalog.registry import get_datasets
from flan.templates.exemplars import TOKEN_BUDGET, ExemplarPool
from flan.templates.load import TemplateSet, load_templates
from flan.templates.renderings import Rendering, parse_rendering, render_example, render_few_shot
from flan.templates.template import Rendered, Template

NO_TEMPLATE = -1  # the index of "no template matters"


def choose_template(
    count: int, seed: int, dataset: str, source: str, row_id: int, epoch: int
) -> int:
    """Which of `count` templates a row gets in an epoch.

    Over each `count` epochs, counted from 0, a row meets every template once, in an order
    of its own; over many rows each template is as likely as any other in each epoch.
    """
    block, turn = divmod(epoch, count)
    name = f"template\x1f{seed}\x1f{dataset}\x1f{source}\x1f{row_id}\x1f{block}"
    digest = hashlib.blake2b(name.encode(), digest_size=32).digest()
    # The hash numbers a permutation; its digits pick one of those left at each turn.
    number = int.from_bytes(digest, "little")
    if not turn:
        return number % count
    left = list(range(count))
    chosen = 0
    for _ in range(turn + 1):
        number, digit = divmod(number, len(left))
        chosen = left.pop(digit)
    return chosen


class Phraser:
    """Turns a dataset's fields into text.

    Args:
      dataset: whose fields.
      rendering: name or parsed (see `flan.templates.renderings`).
      seed: of the choice of templates.
      template: id of the only template to use; all of them by default.
      num_templates: use the first so many templates of the file; None uses all.
      forward_only: leave out inverted templates, as evaluation must.
      template_set: other templates than the shipped ones.

    Raises:
      ValueError: unknown rendering or template id, an inverted template where only
        forward ones may be used.
    """

    def __init__(
        self,
        dataset: Dataset,
        rendering: str | Rendering = "instructions",
        *,
        seed: int = 0,
        template: str | None = None,
        num_templates: int | None = None,
        forward_only: bool = False,
        template_set: TemplateSet | None = None,
    ):
        self.dataset = dataset
        self.rendering = parse_rendering(rendering)
        self.seed = seed
        self.template_set = template_set or load_templates(dataset.name)
        templates = self.template_set.templates[:num_templates]
        if template is not None:
            templates = (self.template_set.get(template),)
        if forward_only:
            templates = tuple(t for t in templates if t.kind == "forward")
        if not templates:
            raise ValueError(
                f"template {template!r} of {dataset.name} is inverted: it asks for something else "
                "than the dataset's answer and only trains"
            )
        self.templates = templates
        self._index = {t.id: i for i, t in enumerate(self.template_set.templates)}
        self._exemplars: ExemplarPool | None = None
        self._count_tokens: Callable[[str], int] | None = None
        self._budget = TOKEN_BUDGET

    @property
    def varies(self) -> bool:
        """Whether a row's text differs from epoch to epoch."""
        return (self.rendering.uses_templates and len(self.templates) > 1) or bool(
            self.rendering.shots
        )

    def use_exemplars(
        self, pool: ExemplarPool, count_tokens: Callable[[str], int], input_length: int
    ) -> None:
        """Gives a few-shot rendering the rows to draw exemplars from, and how long it may get."""
        self._exemplars = pool
        self._count_tokens = count_tokens
        self._budget = min(TOKEN_BUDGET, input_length - 1)

    def phrase(self, fields: Fields, source: str, row_id: int, epoch: int) -> tuple[int, Rendered]:
        """Index of the template in the dataset's file, or `NO_TEMPLATE`, and the text.

        Raises ValueError naming the row where the template does not fit its fields.
        """
        chosen = choose_template(
            len(self.templates), self.seed, self.dataset.name, source, row_id, epoch
        )
        template = self.templates[chosen]
        try:
            rendered = self._render(template, fields, f"{source}/{row_id}/{epoch}")
        except ValueError as error:
            raise ValueError(
                f"{self.dataset.name}, row {row_id} of {source}, template {template.id}: {error}"
            ) from error
        if not self.rendering.uses_templates:
            return NO_TEMPLATE, rendered
        return self._index[template.id], rendered

    def _render(self, template: Template, fields: Fields, row: str) -> Rendered:
        common = (self.dataset, self.template_set, template, fields, self.rendering)
        if not self.rendering.shots:
            return render_example(*common)
        if self._exemplars is None or self._count_tokens is None:
            raise ValueError(f"rendering {self.rendering.name!r} needs exemplars to draw from")
        return render_few_shot(*common, self._exemplars, row, self._count_tokens, self._budget)

    def identity(self) -> dict[str, Any]:
        """All that decides the text of given fields, exemplars aside, as JSON."""
        identity: dict[str, Any] = {"rendering": self.rendering.name}
        if self.rendering.uses_templates:
            identity["seed"] = self.seed
            identity["templates"] = [
                {**dataclasses.asdict(t), "input": t.input.source, "target": t.target.source}
                for t in self.templates
            ]
        else:
            identity["plain"] = [self.dataset.title, self.template_set.plain.source]
        return identity


def option_sets(datasets: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The answer choices that datasets and their templates name, for `check_round_trip`."""
    found: dict[str, tuple[str, ...]] = {}
    for dataset in get_datasets(datasets):
        if dataset.options:
            found[dataset.name] = dataset.options
        for template in load_templates(dataset.name).templates:
            if template.options:
                found[f"{dataset.name}, template {template.id}"] = template.options
    return found
