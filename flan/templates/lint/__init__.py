"""The template linter: rules over a dataset's phrasings, over rows rendered, over tokens.

    findings = check_templates(get_dataset("rte"), load_templates("rte"))

Rules live by theme: `structure` (count, ids, holes, kinds), `options`, `wording` (spaces,
punctuation, stray characters), `meaning` (does the text ask what the answer answers),
`duplicates`, `rendered` (needs rows). A rule is a generator that yields what it finds.
"""

# Importing a theme registers its rules.
from flan.templates.lint import (  # noqa: F401
    duplicates,
    meaning,
    options,
    rendered,
    structure,
    wording,
)
from flan.templates.lint.rule import RULES, Finding, Subject, check_templates

__all__ = ["RULES", "Finding", "Subject", "check_templates"]
