"""Checks datasets by name, where a file that cannot be read is a finding too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from flan.catalog.dataset import Dataset, Fields
from flan.catalog.registry import get_datasets
from flan.templates.lint.rule import WHOLE_FILE, Finding, check_templates
from flan.templates.load import load_templates


def check_named(
    names: Iterable[str],
    rows_of: Callable[[Dataset], Sequence[Fields]],
    encode: Callable[[str], Sequence[int]] | None = None,
    root: Path | None = None,
) -> tuple[dict[str, int], list[Finding]]:
    """Checks the templates of datasets and clusters.

    Args:
      names: of datasets and clusters; `all` for the 62.
      rows_of: example rows of a dataset; an empty list leaves out the rules that need rows.
      encode: a vocabulary's `encode`.
      root: another `templates/` folder.

    Returns:
      Templates checked per dataset, and the findings.

    Raises:
      ValueError: an unknown name.
    """
    checked: dict[str, int] = {}
    findings: list[Finding] = []
    for dataset in get_datasets(names):
        try:
            templates = load_templates(dataset.name, root)
        except (ValueError, FileNotFoundError) as error:
            checked[dataset.name] = 0
            findings.append(Finding(dataset.name, WHOLE_FILE, "unreadable", str(error)))
            continue
        checked[dataset.name] = len(templates.templates)
        findings += check_templates(dataset, templates, rows_of(dataset), encode)
    return checked, findings
