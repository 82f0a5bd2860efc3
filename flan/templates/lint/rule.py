"""What a rule is, what it looks at, and what it finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from flan.catalog.dataset import Dataset, Fields
from flan.templates.load import TemplateSet
from flan.templates.template import Template, Text

# Stand-ins for a template id: the two phrasings that are no templates, and the whole file.
PLAIN, BASELINE, WHOLE_FILE = "plain", "baseline", "file"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
      dataset: its name.
      template: an id (`t3`), or `plain`, `baseline`, `file`.
      rule: the rule's id, a key of `RULES`.
      message: what is there, and what to do about it.
    """

    dataset: str
    template: str
    rule: str
    message: str


@dataclasses.dataclass(frozen=True)
class Subject:
    """What rules look at.

    Attributes:
      dataset, set: the catalog entry and its phrasings.
      rows: example rows as fields; rules that need rows say nothing without them.
      encode: text -> token ids; rules that need a vocabulary say nothing without it.
    """

    dataset: Dataset
    set: TemplateSet
    rows: tuple[Fields, ...] = ()
    encode: Callable[[str], Sequence[int]] | None = None

    @property
    def has_options(self) -> bool:
        """Whether its examples come with answer choices."""
        return self.dataset.task_type != "generation"

    def inputs(self) -> Iterator[tuple[str, Text]]:
        """Where and what, for each text that a model reads."""
        yield from ((t.id, t.input) for t in self.set.templates)
        yield PLAIN, self.set.plain
        yield BASELINE, self.set.baseline.input

    def texts(self) -> Iterator[tuple[str, Text]]:
        """Inputs, and the targets of templates."""
        yield from self.inputs()
        yield from ((t.id, t.target) for t in self.set.templates)

    def forward_options(self) -> Iterator[tuple[Template, tuple[str, ...]]]:
        """Forward templates of a classification dataset, with the options that they show."""
        if self.dataset.task_type == "classification":
            for template in self.set.forward:
                yield template, template.options or self.dataset.options


Check = Callable[[Subject], Iterator[tuple[str, str]]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule's id, what it wants in a line, and the generator of (template, message)."""

    id: str
    summary: str
    check: Check


RULES: dict[str, Rule] = {}


def rule(rule_id: str) -> Callable[[Check], Check]:
    """Registers a check under an id; its docstring's first line says what it wants."""

    def register(check: Check) -> Check:
        assert rule_id not in RULES, f"two rules are called {rule_id}"
        summary = (check.__doc__ or "").partition("\n")[0]
        RULES[rule_id] = Rule(rule_id, summary, check)
        return check

    return register


def check_templates(
    dataset: Dataset,
    template_set: TemplateSet,
    rows: Sequence[Fields] = (),
    encode: Callable[[str], Sequence[int]] | None = None,
) -> list[Finding]:
    """Everything that the rules find, in the file's order, each finding once.

    Args:
      dataset: the catalog entry.
      template_set: its phrasings.
      rows: fields of example rows, to see what rendering gives.
      encode: a vocabulary's `encode`, to see which options tokens can tell apart.
    """
    subject = Subject(dataset, template_set, tuple(rows), encode)
    places = [WHOLE_FILE, PLAIN, BASELINE, *(t.id for t in template_set.templates)]
    found = [
        Finding(dataset.name, template, each.id, message)
        for each in RULES.values()
        for template, message in each.check(subject)
    ]
    return sorted(dict.fromkeys(found), key=lambda finding: places.index(finding.template))
