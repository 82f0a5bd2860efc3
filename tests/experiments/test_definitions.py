"""The experiments' runs: what each trains on, leaves out and is scored on."""

import itertools

import pytest

from flan.catalog import clusters
from flan.data.names import parse_task_name
from flan.experiments import definitions
from flan.experiments.definitions import (
    DatasetsTemplates,
    FewShot,
    FullVsLora,
    Instructions,
    LeaveOneOut,
    ModelScale,
    NumClusters,
    PromptTuning,
    Untuned,
)
from flan.experiments.graph import EvaluationSettings
from flan.experiments.runs import BASE, RunSpec, leave_out

ALL = [
    LeaveOneOut(clusters=tuple(clusters.CLUSTERS)),
    NumClusters(),
    ModelScale(models={"configs/models/small.gin": "small", "configs/models/tiny.gin": "tiny"}),
    Instructions(),
    FewShot(),
    DatasetsTemplates(),
    Untuned(),
    FullVsLora(ranks=[1, 8]),
]


@pytest.mark.parametrize("experiment", ALL, ids=lambda e: type(e).__name__)
def test_no_run_trains_on_what_it_is_scored_on(experiment):
    runs = experiment.runs()
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        scored = set(clusters.expand(run.evaluate))
        if run.mixture is None:
            assert run.tags["tuned"] == "no"
            continue
        trained = set(parse_task_name(run.mixture).datasets)
        assert not trained & scored
        assert scored <= {d for c in run.held_out for d in clusters.cluster_datasets(c)}
        assert trained <= set(clusters.training_datasets(run.held_out))


def test_leave_one_out_applies_the_overlap_rules():
    by_name = {run.name: run for run in LeaveOneOut().runs()}
    assert next(iter(by_name)) == BASE
    assert set(by_name) - {BASE} == set(definitions.EVALUATED)
    trained = set(parse_task_name(by_name["nli"].mixture).datasets)
    assert not trained & {"rte", "mrpc"}
    assert {"bool_q", "sst2"} <= trained


def test_num_clusters_adds_them_in_the_paper_s_order():
    runs = NumClusters().runs()[1:]
    counts = [run.tags["datasets"] for run in runs]
    # The paper prints 11, 20, 26, ... 39: it counts nine translation datasets and six of
    # reading comprehension.
    assert counts == [11, 19, 24, 28, 32, 35, 37]
    sets = [set(parse_task_name(run.mixture).datasets) for run in runs]
    assert all(a < b for a, b in itertools.pairwise(sets))
    assert sets[-1] - sets[-2] == {"coqa", "quac"}


def test_instructions_are_compared_with_bare_content_and_names():
    runs = {run.name: run for run in Instructions(clusters=["nli"]).runs()}
    assert runs["nli-no_template"].mixture == "flan_loo_nli_no_template"
    assert runs["nli-no_template"].modes == ("instructions",)
    assert runs["nli-dataset_name"].modes == ("instructions", "dataset_name")


def test_few_shot_runs_are_asked_as_they_were_tuned():
    runs = {run.name: run for run in FewShot(clusters=["nli"], shots=[0, 5]).runs()}
    assert (runs["nli-5shot"].mixture, runs["nli-5shot"].modes) == (
        "flan_loo_nli_5shot",
        ("5shot",),
    )
    assert runs[BASE].modes == ("baseline", "baseline_5shot")


def test_fewer_datasets_and_templates():
    runs = {run.name: run for run in DatasetsTemplates(templates=[1], datasets=[2]).runs()}
    run = runs["datasets-2-templates-1"]
    trained = parse_task_name(run.mixture).datasets
    kept = [c for c, names in clusters.CLUSTERS.items() if set(names) & set(trained)]
    assert all(len(set(clusters.CLUSTERS[c]) & set(trained)) <= 2 for c in kept)
    assert not set(kept) & {"nli", "paraphrase", "closed_book_qa", "commonsense"}
    assert run.settings == {"NUM_TEMPLATES": 1}


def test_each_size_starts_from_its_own_model():
    runs = ModelScale(models={"configs/models/8b.gin": "/models/8b"}).runs()
    assert [run.name for run in runs] == ["base-8b", "8b"]
    assert {run.settings["INITIAL_CHECKPOINT_PATH"] for run in runs} == {"/models/8b"}


def test_prompts_are_tuned_on_the_base_and_on_models_without_the_task_s_cluster():
    runs = {run.name: run for run in PromptTuning(tasks=["rte", "cb", "copa"]).runs()}
    assert len(runs) == 1 + 2 + 3 * 2 * 2
    assert runs["tuned-nli"].evaluate == ("rte", "cb")
    assert not {"rte", "cb", "mrpc"} & set(parse_task_name(runs["tuned-nli"].mixture).datasets)
    whole, few = runs["rte-on-base-all"], runs["rte-on-tuned-32"]
    assert {run.mixture for run in (whole, few)} == {"flan_rte_no_template"}
    assert (whole.starts_from, few.starts_from) == (None, "tuned-nli")
    assert (whole.evaluate, few.modes) == (("rte",), ("no_template",))
    assert "InstructionData.cap" not in whole.settings
    assert few.settings["InstructionData.cap"] == few.settings["SeqioData.cap"] == 32
    assert few.settings["LEARNING_RATE"] == 0.3


def test_adapters_train_on_what_all_parameters_train_on():
    runs = {run.name: run for run in FullVsLora(clusters=["nli"], ranks=[1, 8]).runs()}
    assert list(runs) == [BASE, "nli-full", "nli-lora-1", "nli-lora-8"]
    assert {run.mixture for run in list(runs.values())[1:]} == {"flan_loo_nli"}
    assert runs["nli-lora-8"].settings == {"Lora.rank": 8, "LEARNING_RATE": 3e-4}
    assert runs["nli-full"].settings == {}


def test_several_clusters_at_once():
    names = parse_task_name(leave_out(["nli", "commonsense"], "2shot"))
    assert set(names.datasets) == set(clusters.training_datasets(["nli", "commonsense"]))
    assert names.rendering.shots == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeaveOneOut(clusters=["nly"]).runs(), "Did you mean 'nli'"),
        (lambda: LeaveOneOut(clusters=[]).runs(), "got none"),
        (lambda: NumClusters(counts=[8]).runs(), "counts must be 1 to 7, got 8"),
        (lambda: NumClusters(counts=[]).runs(), "counts must be a list of one number or more"),
        (lambda: FewShot(shots=[]).runs(), "got none"),
        (lambda: FewShot(shots=[-1]).runs(), "shots must be 0 or more, got -1"),
        (lambda: FullVsLora(ranks=[]).runs(), "got none"),
        (lambda: ModelScale(models={}).runs(), "got none"),
        (lambda: DatasetsTemplates(datasets=[-1]).runs(), "datasets must be 1 or more, got -1"),
        (lambda: DatasetsTemplates(templates=[0]).runs(), "templates must be 1 to 10, got 0"),
        (lambda: DatasetsTemplates(templates=[11]).runs(), "templates must be 1 to 10, got 11"),
        (lambda: Untuned(modes=["basline"]).runs(), "Did you mean 'baseline'"),
        (lambda: LeaveOneOut(base_modes=[]).runs(), "has no modes"),
        (lambda: EvaluationSettings(limit=0), "EVAL_LIMIT must be 1 or more"),
        (lambda: EvaluationSettings(splits="test"), "must be a list of some of"),
        (lambda: EvaluationSettings(splits=["tset"]), "some of .'dev', 'test'., got .'tset'."),
        (lambda: EvaluationSettings(splits=[]), "some of"),
        (lambda: EvaluationSettings(score="pmmi"), "Did you mean 'pmi'"),
        (lambda: EvaluationSettings(feature_lengths={"inputs": 3}), "'inputs' and 'targets'"),
        (lambda: FewShot(shots=[65]).runs(), "give 1 to 64"),
        (lambda: PromptTuning(tasks=["rt"]).runs(), "Did you mean 'rte'"),
        (lambda: PromptTuning(tasks=[]).runs(), "got none"),
        (lambda: PromptTuning(examples=[0]).runs(), "1 or more"),
        (lambda: PromptTuning(rendering="templates").runs(), "unknown rendering"),
        (lambda: FullVsLora(ranks=[0]).runs(), "1 or more, got 0"),
        (lambda: RunSpec(name="../x", mixture=None, evaluate=()), "cannot name a folder"),
        # A held-out dataset, and one that overlaps, slipped into a mixture.
        (
            lambda: RunSpec(name="a", mixture="flan_sst2,flan_rte", evaluate=(), held_out=("nli",)),
            "would train on rte",
        ),
        (
            lambda: RunSpec(name="a", mixture="flan_mrpc", evaluate=(), held_out=("nli",)),
            "would train on mrpc",
        ),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
