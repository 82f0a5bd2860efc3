"""What the 62 datasets are. Pure Python: no TensorFlow, no JAX."""

from flan.catalog.clusters import CLUSTERS, EXTRA, all_datasets, cluster_of, training_datasets
from flan.catalog.dataset import Dataset, Fields, Source, choice, free_form
from flan.catalog.registry import get_dataset, get_datasets, register

__all__ = [
    "CLUSTERS",
    "EXTRA",
    "Dataset",
    "Fields",
    "Source",
    "all_datasets",
    "choice",
    "cluster_of",
    "free_form",
    "get_dataset",
    "get_datasets",
    "register",
    "training_datasets",
]
