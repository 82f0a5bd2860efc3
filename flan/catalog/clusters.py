"""The 12 clusters, their 62 datasets, and which clusters may train when one is held out.

Names only, so that asking what exists imports no dataset. Source: the FLAN paper
(arXiv 2109.01652), figure 3 and section 2.2; the translation list is the eight of
the paper's public code, since the paper prints "(8)" and names nine.
"""

from __future__ import annotations

from collections.abc import Iterable

from flan.suggest import unknown_name

CLUSTERS: dict[str, tuple[str, ...]] = {
    "nli": ("anli", "cb", "mnli", "qnli", "rte", "snli", "wnli"),
    "commonsense": ("copa", "hellaswag", "piqa", "story_cloze"),
    "sentiment": ("imdb_reviews", "sentiment140", "sst2", "yelp_polarity_reviews"),
    "paraphrase": ("mrpc", "paws_wiki", "qqp", "stsb"),
    "closed_book_qa": ("arc", "natural_questions", "trivia_qa"),
    "struct_to_text": ("common_gen", "dart", "e2e_nlg", "web_nlg"),
    "translation": (
        "para_crawl_enes",
        "wmt14_enfr",
        "wmt16_csen",
        "wmt16_deen",
        "wmt16_fien",
        "wmt16_roen",
        "wmt16_ruen",
        "wmt16_tren",
    ),
    "reading_comprehension": ("bool_q", "drop", "multirc", "openbookqa", "squad"),
    "reading_comprehension_commonsense": ("cosmos_qa", "record"),
    "coreference": ("definite_pronoun_resolution", "winogrande", "wsc"),
    "misc": ("coqa", "cola", "fix_punct", "math", "quac", "trec", "wic"),
    "summarization": (
        "aeslc",
        "ag_news",
        "cnn_dailymail",
        "gigaword",
        "idebate",
        "multi_news",
        "newsroom",
        "rotten_tomatoes",
        "samsum",
        "wiki_lingua",
        "xsum",
    ),
}

# Outside the 62: never in `flan_all` or a leave-one-out mixture, only by name.
EXTRA: tuple[str, ...] = ("true_case", "word_segment")

# Holding out the key also drops these clusters from training (paper, section 2.2 and
# appendix A: read both ways, since overlap is symmetric).
OVERLAPS: dict[str, tuple[str, ...]] = {
    "nli": ("paraphrase",),
    "paraphrase": ("nli",),
    "reading_comprehension": ("reading_comprehension_commonsense",),
    "commonsense": ("reading_comprehension_commonsense",),
    "reading_comprehension_commonsense": ("reading_comprehension", "commonsense"),
}


def cluster_datasets(cluster: str) -> tuple[str, ...]:
    """Dataset names of a cluster; ValueError with near names for an unknown one."""
    if cluster == "extra":
        return EXTRA
    if cluster not in CLUSTERS:
        raise ValueError(unknown_name("cluster", cluster, CLUSTERS))
    return CLUSTERS[cluster]


def cluster_of(dataset: str) -> str:
    """The cluster of one of our 62 datasets, or `extra`; ValueError for an unknown name."""
    for cluster, names in CLUSTERS.items():
        if dataset in names:
            return cluster
    if dataset in EXTRA:
        return "extra"
    raise ValueError(unknown_name("dataset", dataset, [*all_datasets(), *EXTRA]))


def all_datasets() -> tuple[str, ...]:
    """The 62 names in cluster order."""
    return tuple(name for names in CLUSTERS.values() for name in names)


def dropped_clusters(held_out: str | Iterable[str]) -> tuple[str, ...]:
    """Clusters that must not train when `held_out` is evaluated: itself and its overlaps."""
    names = [held_out] if isinstance(held_out, str) else list(held_out)
    dropped: set[str] = set()
    for name in names:
        cluster_datasets(name)  # refuses an unknown cluster
        dropped.update((name, *OVERLAPS.get(name, ())))
    return tuple(c for c in CLUSTERS if c in dropped)


def training_datasets(held_out: str | Iterable[str] = ()) -> tuple[str, ...]:
    """Datasets allowed in training when the given clusters are held out; all 62 for none."""
    dropped = dropped_clusters(held_out) if held_out else ()
    return tuple(n for c, names in CLUSTERS.items() if c not in dropped for n in names)


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Datasets and clusters by name, mixed freely -> dataset names, in order, each once."""
    found: dict[str, None] = {}
    for name in names:
        if name in CLUSTERS or name == "extra":
            found.update(dict.fromkeys(cluster_datasets(name)))
        elif name == "all":
            found.update(dict.fromkeys(all_datasets()))
        elif name in all_datasets() or name in EXTRA:
            found[name] = None
        else:
            known = [*CLUSTERS, *all_datasets(), *EXTRA]
            raise ValueError(unknown_name("dataset or cluster", name, known))
    return tuple(found)
