"""What a file or folder is, and its reader."""

from __future__ import annotations

from pathlib import Path

from flan.checkpoints import layout
from flan.checkpoints.foreign import gguf_file
from flan.checkpoints.foreign.import_model import ForeignModel
from flan.checkpoints.foreign.t5x_files import is_t5x


def detect(path: Path, kind: str = "auto") -> tuple[str, Path]:
    """The kind of a model (`gguf`, `hf`, `t5x` or `flan`) and where exactly it lies.

    Args:
      path: a file or folder.
      kind: what it is said to be, or `auto`.

    Raises FileNotFoundError where nothing is there, ValueError where it is none of these.
    """
    if not path.exists():
        raise FileNotFoundError(f"no model at {path}")
    if path.is_dir() and kind in ("auto", "gguf"):
        # A folder with one GGUF file and no config stands for that file.
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1 and not (path / "config.json").is_file():
            path = files[0]
    if path.is_dir() and kind in ("auto", "t5x") and not is_t5x(path):
        # T5X's folder of checkpoints stands for the newest.
        steps = [p for p in path.glob("checkpoint_*") if p.name[11:].isdigit() and is_t5x(p)]
        path = max(steps, key=lambda p: int(p.name[11:]), default=path)
    if path.is_file() and path.suffix == ".safetensors":
        path = path.parent
    return (_kind(path) if kind == "auto" else kind), path


def open_foreign(kind: str, path: Path, vocabulary: Path | None = None) -> ForeignModel:
    """What the reader of that kind finds out; raises what it raises."""
    if kind == "gguf":
        from flan.checkpoints.foreign.gguf_model import open_gguf

        return open_gguf(path)
    if kind == "t5x":
        from flan.checkpoints.foreign.t5x_model import open_t5x

        return open_t5x(path, vocabulary)
    assert kind == "hf", kind
    from flan.checkpoints.foreign.hf_model import open_hugging_face

    return open_hugging_face(path)


def _kind(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(4)
        if start == gguf_file.MAGIC:
            return "gguf"
        raise ValueError(
            f"{path} is no model that can be read: expected a GGUF file, or a folder of Hugging "
            "Face (config.json), T5X, or ours (model.json)"
        )
    folder, _ = layout.split_step(path)
    theirs = (path / "config.json").is_file()
    # Another program may call a file like ours: only we keep checkpoints beside it.
    if (folder / layout.MODEL_FILE).is_file() and (
        (folder / layout.CHECKPOINTS).is_dir() or not theirs
    ):
        return "flan"
    if theirs:
        return "hf"
    if is_t5x(path):
        return "t5x"
    found = sorted(p.name for p in path.iterdir())[:8]
    raise ValueError(
        f"{path} is no model that can be read: it has neither config.json (Hugging Face), nor "
        f"model.json (ours), nor a T5X checkpoint; it has {', '.join(found) or 'nothing'}. "
        "--from says what it is"
    )
