import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.catalog import CLUSTERS, EXTRA, all_datasets, cluster_of, training_datasets
from flan.catalog.clusters import OVERLAPS, cluster_datasets, dropped_clusters, expand

# Datasets per cluster, from figure 3 of the paper (translation: the eight of its code).
SIZES = {
    "nli": 7,
    "commonsense": 4,
    "sentiment": 4,
    "paraphrase": 4,
    "closed_book_qa": 3,
    "struct_to_text": 4,
    "translation": 8,
    "reading_comprehension": 5,
    "reading_comprehension_commonsense": 2,
    "coreference": 3,
    "misc": 7,
    "summarization": 11,
}


def test_twelve_clusters_of_62_datasets():
    assert {cluster: len(names) for cluster, names in CLUSTERS.items()} == SIZES
    assert len(set(all_datasets())) == len(all_datasets()) == 62
    assert not {*EXTRA} & {*all_datasets()}


@pytest.mark.parametrize(
    ("held_out", "dropped"),
    [
        ("nli", {"nli", "paraphrase"}),
        ("paraphrase", {"nli", "paraphrase"}),
        (
            "reading_comprehension",
            {"reading_comprehension", "reading_comprehension_commonsense"},
        ),
        ("commonsense", {"commonsense", "reading_comprehension_commonsense"}),
        (
            "reading_comprehension_commonsense",
            {"reading_comprehension", "commonsense", "reading_comprehension_commonsense"},
        ),
        *((c, {c}) for c in ("sentiment", "closed_book_qa", "struct_to_text", "translation")),
        *((c, {c}) for c in ("coreference", "misc", "summarization")),
    ],
)
def test_what_a_held_out_cluster_takes_along(held_out, dropped):
    assert set(dropped_clusters(held_out)) == dropped
    left = training_datasets(held_out)
    assert {cluster_of(name) for name in left} == set(CLUSTERS) - dropped
    assert len(left) == 62 - sum(SIZES[c] for c in dropped)


def test_overlap_is_read_both_ways():
    for cluster, others in OVERLAPS.items():
        assert all(cluster in OVERLAPS[other] for other in others)


@given(st.sets(st.sampled_from(sorted(CLUSTERS))))
def test_several_held_out_drop_what_each_drops(held_out):
    each = {d for cluster in held_out for d in dropped_clusters(cluster)}
    assert set(dropped_clusters(held_out)) == each
    trained = {cluster_of(name) for name in training_datasets(held_out)}
    assert trained == set(CLUSTERS) - each


def test_all_train_when_none_is_held_out():
    assert training_datasets() == all_datasets()


def test_expand_mixes_datasets_and_clusters():
    assert expand(["rte", "nli", "squad"]) == (
        "rte",
        *(name for name in CLUSTERS["nli"] if name != "rte"),
        "squad",
    )
    assert expand(["all"]) == all_datasets()
    assert expand(["extra", "true_case"]) == EXTRA
    assert expand([]) == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expand(["sqad"]), "unknown dataset or cluster 'sqad'. Did you mean 'squad'"),
        (lambda: cluster_of("rtee"), "unknown dataset 'rtee'. Did you mean 'rte'"),
        (lambda: cluster_datasets("nil"), "unknown cluster 'nil'. Did you mean 'nli'"),
        (lambda: dropped_clusters("sentimen"), "unknown cluster 'sentimen'. Did you mean"),
        (lambda: training_datasets(["nli", "rte"]), "unknown cluster 'rte'"),
    ],
)
def test_unknown_names_suggest_near_ones(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_extras_have_their_own_cluster():
    assert cluster_datasets("extra") == EXTRA
    assert {cluster_of(name) for name in EXTRA} == {"extra"}
