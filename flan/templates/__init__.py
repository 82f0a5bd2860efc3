"""Load, lint and render instruction templates. Pure Python: no TensorFlow, no JAX."""

from flan.templates.load import Baseline, TemplateSet, load_templates
from flan.templates.template import Rendered, Template, Text, options_block, render

__all__ = [
    "Baseline",
    "Rendered",
    "Template",
    "TemplateSet",
    "Text",
    "load_templates",
    "options_block",
    "render",
]
