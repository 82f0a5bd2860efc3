"""Reads `templates/<cluster>/<dataset>.yaml`: ten templates, a plain form and a baseline prompt."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import yaml

from flan.catalog import clusters
from flan.resources import resource_dir
from flan.suggest import unknown_name
from flan.templates.template import Template, Text

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A GPT-3-style prompt for an untuned model: the target continues `input` directly.

    Attributes:
      input: the prompt, ending where the model goes on (no trailing space).
      options: continuations in label order in place of the dataset's options.
    """

    input: Text
    options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TemplateSet:
    """All phrasings of one dataset.

    Attributes:
      dataset: its name.
      templates: in file order; ids are distinct.
      plain: the example's content with no instruction at all (`_no_template`).
      baseline: the prompt for untuned models.
    """

    dataset: str
    templates: tuple[Template, ...]
    plain: Text
    baseline: Baseline

    @property
    def forward(self) -> tuple[Template, ...]:
        """The templates that evaluation may use."""
        return tuple(t for t in self.templates if t.kind == "forward")

    def get(self, template_id: str) -> Template:
        """The template of that id; ValueError with near ids when there is none."""
        for template in self.templates:
            if template.id == template_id:
                return template
        known = [t.id for t in self.templates]
        raise ValueError(unknown_name(f"template of {self.dataset}", template_id, known))


def load_templates(dataset: str, root: Path | None = None) -> TemplateSet:
    """The templates of a dataset.

    Args:
      dataset: its name.
      root: another `templates/` folder; the shipped one by default.

    Raises:
      ValueError: unknown dataset, or a file that is not as `parse_templates` wants it.
      FileNotFoundError: the dataset has no YAML file.
    """
    return _load(dataset, root or resource_dir("templates"))


@functools.cache
def _load(dataset: str, root: Path) -> TemplateSet:
    path = _find(dataset, root)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        parsed = parse_templates(content)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    if parsed.dataset != dataset:
        raise ValueError(f"{path.name}: says dataset {parsed.dataset!r}, expected {dataset!r}")
    return parsed


def _find(dataset: str, root: Path) -> Path:
    """`<root>/<cluster>/<dataset>.yaml`; a user's own dataset may lie in any sub-folder."""
    try:
        return_path = root / clusters.cluster_of(dataset) / f"{dataset}.yaml"
    except ValueError:
        from flan.catalog.registry import get_dataset

        return_path = root / get_dataset(dataset).cluster / f"{dataset}.yaml"
    if not return_path.is_file():
        raise FileNotFoundError(
            f"dataset {dataset!r} has no templates: expected {return_path.parent.name}/"
            f"{return_path.name} in the templates folder"
        )
    return return_path


def parse_templates(content: Any) -> TemplateSet:
    """A `TemplateSet` from the parsed YAML; ValueError saying which entry is wrong and how."""
    _expect_keys("file", content, {"dataset", "plain", "baseline", "templates"}, set())
    baseline = content["baseline"]
    _expect_keys("baseline", baseline, {"input"}, {"options"})
    templates = tuple(_parse_template(entry) for entry in content["templates"])
    ids = [t.id for t in templates]
    if len(set(ids)) != len(ids):
        raise ValueError(f"template ids repeat: {ids}")
    return TemplateSet(
        dataset=content["dataset"],
        templates=templates,
        plain=Text.parse(content["plain"]),
        baseline=Baseline(Text.parse(baseline["input"]), _options("baseline", baseline)),
    )


def _parse_template(entry: Any) -> Template:
    name = f"template {entry.get('id')!r}" if isinstance(entry, dict) else "template"
    _expect_keys(name, entry, {"id", "input", "target"}, {"kind", "options"})
    kind = entry.get("kind", "forward")
    if kind not in ("forward", "inverted"):
        raise ValueError(f"{name}: kind {kind!r} is neither 'forward' nor 'inverted'")
    try:
        text, target = Text.parse(entry["input"]), Text.parse(entry["target"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return Template(entry["id"], text, target, kind, _options(name, entry))


def _options(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    options = entry.get("options", [])
    if not isinstance(options, list) or not all(isinstance(o, str) for o in options):
        # YAML reads a bare yes, no, true or 1 as something else: quote it.
        raise ValueError(f"{name}: options must be a list of quoted strings, got {options!r}")
    return tuple(options)


def _expect_keys(where: str, value: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a mapping, got {type(value).__name__}")
    if missing := required - value.keys():
        raise ValueError(f"{where}: lacks {sorted(missing)}")
    if extra := value.keys() - required - optional:
        raise ValueError(f"{where}: unknown keys {sorted(map(str, extra))}")
