"""What `flan train` refuses, and that it leaves nothing behind."""

from __future__ import annotations

import shutil

import pytest

from flan.checkpoints import layout
from flan.cli.main import main
from flan.data.vocabulary import train_sentencepiece
from flan.testing.damage import flip_array_bits
from flan.testing.runs import assert_same
from flan.training.metrics import read_metrics


def refused(argv, folder, capsys) -> str:
    """Runs what must be refused; gives the message."""
    before = sorted(folder.rglob("*")) if folder.exists() else None
    capsys.readouterr()
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert (sorted(folder.rglob("*")) if folder.exists() else None) == before
    message = error[error.index("flan: error: ") :]
    return message.removeprefix("flan: error: ").strip()


MISTAKES = {
    "gin file": ("--gin_file=configs/runs/finetun.gin", "unknown gin file", "finetune.gin'"),
    "setting": ("--gin.TRAIN_STEP=5", "unknown setting 'TRAIN_STEP'", "Did you mean 'TRAIN_STEPS'"),
    "parameter": ("--gin.ModelConfig.foo=1", "unknown setting of ModelConfig 'foo'", "d_model"),
    "configurable": ("--gin.ModelConfg.d_model=1", "ModelConfg", "Did you mean 'ModelConfig'"),
    "binding": ("--gin_bindings=TRAIN_STEPS", "'TRAIN_STEPS' is not of the form", "NAME=VALUE"),
    "word for a number": ("--gin.TRAIN_STEPS=many", "steps must be int, got 'many'"),
    "word for a model": ("--gin.MODEL=tiny", "RunConfig.model must be ModelConfig or None"),
    "no steps": ("--gin.TRAIN_STEPS=0", "steps must be 1 or more, got 0"),
    "no model": ("--gin.MODEL=None", "no model: give --gin_file=configs/models/"),
    "dataset": ("--gin.MIXTURE_OR_TASK_NAME=flan_rtee", "'flan_rtee'", "Did you mean 'flan_rte'"),
    "mixture": ("--gin.MIXTURE_OR_TASK_NAME=flan_loo_nil", "Did you mean 'flan_loo_nli'"),
    "template": ("--gin.MIXTURE_OR_TASK_NAME=flan_rte_t77", "unknown template of rte 't77'", "t0"),
    "data folder": ("--data_dir=/no/such", "no data folder at /no/such"),
    "absent": ("--gin.MIXTURE_OR_TASK_NAME=rte,cb", "super_glue/cb", "--gin.ON_MISSING=skip"),
    "on missing": ("--gin.ON_MISSING=ignore", "'error' or 'skip', got 'ignore'"),
    "vocabulary": ("--vocabulary=/no/such", "no vocabulary at /no/such"),
    "checkpoint": ("--gin.INITIAL_CHECKPOINT_PATH=/no/such", "/no/such: no such folder"),
    "mesh": ("--gin.MeshConfig.data=3", "[3, 1, 1] needs 3 devices, there are 8"),
    "batch": ("--gin.BATCH_SIZE=6", "a batch of 6 rows", "BATCH_SIZE a multiple"),
    "microbatches": ("--gin.StepConfig.microbatches=3", "3 microbatches"),
    "heads over devices": ("--gin.MeshConfig.model=4", "cannot be split over 4 devices"),
    "lengths": ("--gin.TASK_FEATURE_LENGTHS={'inputs': 64}", "'inputs' and 'targets'", "1024"),
    "short": ("--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 1}", "lengths must be 2"),
    "on damaged": ("--gin.ON_DAMAGED=skip", "'error' or 'previous', got 'skip'"),
    "optimizer": ("--gin.OptimizerConfig.name=adamm", "adamm", "adafactor"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(flags, tmp_path, capsys, mistake):
    flag, *told = MISTAKES[mistake]
    message = refused([*flags, f"--model_dir={tmp_path / 'run'}", flag], tmp_path / "run", capsys)
    for text in told:
        assert text in message
    if mistake != "absent":  # which lists the sources
        assert "\n" not in message


def test_a_run_without_a_folder_is_refused(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(flags, tmp_path, capsys)
    assert message == "MODEL_DIR must be set: add --gin.MODEL_DIR=VALUE"


def test_a_setting_without_a_value_is_refused(flags, tmp_path, capsys):
    message = refused([*flags, "--gin.MODEL_DIR"], tmp_path, capsys)
    assert message == "--gin.MODEL_DIR lacks a value: write --gin.MODEL_DIR=VALUE"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ModelConfig.d_model=32", "d_model is 16 there, 32 here"),
        ("ModelConfig.positions=rope", "positions is 'relative' there, 'rope' here"),
        ("MIXTURE_OR_TASK_NAME=rte", "on another data"),
        ("SEED=1", "on another data"),
        ("BATCH_SIZE=16", "on another data"),
        ("OptimizerConfig.name=adamw", "(name is 'adafactor' there, 'adamw' here)"),
        ("LEARNING_RATE=0.5", "another optimizer (learning_rate is 0.01 there, 0.5 here)"),
        ("StepConfig.prefix_lm=True", "another objective (prefix_lm is False there, True here)"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(flags, copy, capsys, setting, told):
    longer = [*flags, f"--model_dir={copy}", "--gin.TRAIN_STEPS=8", f"--gin.{setting}"]
    message = refused(longer, copy, capsys)
    assert told in message
    assert str(copy) in message


def test_a_finished_run_is_not_taken_for_one_of_other_settings(flags, copy, trained, capsys):
    same = [*flags, f"--model_dir={copy}"]
    message = refused([*same, "--gin.LEARNING_RATE=0.5"], copy, capsys)
    assert "learning_rate is 0.01 there, 0.5 here" in message
    assert "another MODEL_DIR" in message
    message = refused([*same, "--gin.OptimizerConfig.warmup_steps=9"], copy, capsys)
    assert "warmup_steps is 0 there, 9 here" in message
    message = refused([*same, f"--gin.INITIAL_CHECKPOINT_PATH={trained}"], copy, capsys)
    assert f"another initial checkpoint (None there, {trained} here)" in message


def test_a_run_goes_on_from_the_model_that_it_began_with(flags, copy, tmp_path, capsys):
    def go(steps, initial):
        capsys.readouterr()
        start = f"--gin.INITIAL_CHECKPOINT_PATH={initial}"
        return main(
            [*flags, f"--model_dir={tmp_path / 'run'}", f"--gin.TRAIN_STEPS={steps}", start]
        )

    assert go(1, copy) == 0
    moved = copy.rename(tmp_path / "moved")
    assert go(2, moved) == 0
    assert go(3, f"{moved}/checkpoints/4") == 2
    assert f"({moved} there, {moved}/checkpoints/4 here)" in capsys.readouterr().err
    shutil.rmtree(moved / layout.CHECKPOINTS / "6")  # another newest one, as if it trained on
    assert go(3, moved) == 2
    assert f"which is at step 4 now: give {moved}/checkpoints/6)" in capsys.readouterr().err
    assert go(3, f"{moved}/checkpoints/6") == 0


@pytest.fixture(scope="module")
def other_vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary") / "other"
    train_sentencepiece(["The dog is in the park.\n- yes\n- no"] * 20, folder, 320, shrink=True)
    return folder


def test_a_run_does_not_go_on_with_another_vocabulary(flags, copy, capsys, other_vocabulary):
    own = f"--gin.ModelConfig.vocab_size={layout.read_model_config(copy).vocab_size}"
    more = [own, "--gin.TRAIN_STEPS=8", f"--vocabulary={other_vocabulary}"]
    message = refused([*flags, f"--model_dir={copy}", *more], copy, capsys)
    assert "on another vocabulary" in message
    # Nor before the first checkpoint: the copy beside it would be the wrong one.
    shutil.rmtree(copy / layout.CHECKPOINTS)
    message = refused([*flags, f"--model_dir={copy}", *more], copy, capsys)
    assert "on another vocabulary" in message


def test_initial_checkpoints_that_do_not_fit(flags, trained, tmp_path, capsys, other_vocabulary):
    run = tmp_path / "run"
    base = [*flags, f"--model_dir={run}", f"--gin.INITIAL_CHECKPOINT_PATH={trained}"]
    message = refused([*base, "--gin.ModelConfig.d_ff=64"], run, capsys)
    assert "d_ff is 32 there, 64 here" in message
    assert "--gin.MODEL=None" in message
    message = refused([*base, "--gin.MODEL=None", "--gin.ModelConfig.d_ff=64"], run, capsys)
    assert "ModelConfig.d_ff = 64 (it has 32)" in message
    message = refused([*base, f"--vocabulary={other_vocabulary}"], run, capsys)
    assert "was trained with another vocabulary" in message
    assert "no checkpoint of step 5; it has [2, 4, 6]" in refused(
        [*base, f"--gin.INITIAL_CHECKPOINT_PATH={trained}/checkpoints/5"], run, capsys
    )
    assert "has no model.json" in refused(
        [*base, f"--gin.INITIAL_CHECKPOINT_PATH={tmp_path}"], run, capsys
    )


def test_a_damaged_newest_checkpoint_is_refused_or_set_aside(flags, trained, copy, capsys):
    flip_array_bits(copy / layout.CHECKPOINTS / "6")
    base = [*flags, f"--model_dir={copy}"]
    message = refused(base, copy, capsys)
    assert f"{copy}/checkpoints/6 cannot be read" in message
    assert "go on from step 4, run the same command with --gin.ON_DAMAGED=previous" in message

    assert main([*base, "--gin.ON_DAMAGED=previous"]) == 0
    assert "going on from step 4" in capsys.readouterr().err
    assert (copy / layout.DAMAGED / "6").is_dir()
    assert_same(trained, copy)
    steps = [line["step"] for line in read_metrics(copy / layout.METRICS_FILE)]
    assert steps == [2, 4, 6]


def test_nothing_is_moved_where_no_checkpoint_is_sound(flags, copy, capsys):
    for step in (copy / layout.CHECKPOINTS).iterdir():
        shutil.rmtree(step / "state")
    base = [*flags, f"--model_dir={copy}", "--gin.ON_DAMAGED=previous"]
    assert "none of the checkpoints" in refused(base, copy, capsys)


def test_a_damaged_initial_checkpoint(flags, copy, tmp_path, capsys):
    (data,) = (copy / layout.CHECKPOINTS / "6" / "state").glob("ocdbt.process_0")
    shutil.rmtree(data)
    run = tmp_path / "run"
    start = f"--gin.INITIAL_CHECKPOINT_PATH={copy}"
    message = refused([*flags, f"--model_dir={run}", start], run, capsys)
    assert "checkpoints/6 cannot be read" in message
    assert "step 4 is the one before it" in message
