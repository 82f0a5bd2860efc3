"""A static web page of clusters, datasets and templates, for reading them like a book."""

from flan.browse.site import write_site

__all__ = ["write_site"]
