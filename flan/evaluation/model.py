"""A checkpoint and its vocabulary, ready to be evaluated."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp

from flan.checkpoints.integrity import path_name
from flan.data.vocabulary import Vocabulary, check_round_trip, load_vocabulary
from flan.evaluation.fingerprint import model_fingerprint
from flan.evaluation.placement import Placement, place
from flan.evaluation.prompts import newline_ids
from flan.evaluation.results import safe_name
from flan.evaluation.training import Training
from flan.evaluation.unconditional import UnconditionalScores

if TYPE_CHECKING:
    from flan.models.config import ModelConfig

Dtype = Literal["float32", "bfloat16"]

# A model's embedding may have more rows than the vocabulary has pieces, for even shards.
# Beyond this a checkpoint that does not name its vocabulary must have had another.
_MOST_PADDING = 1024


@dataclasses.dataclass(frozen=True)
class EvaluationModel:
    """What cells need of a model.

    Attributes:
      label: its name in results.
      network: a flax module called as `flan.models.Transformer`.
      params: its parameters.
      vocabulary: its vocabulary.
      step: gradient steps it has had.
      fingerprint: of the parameters and the network.
      dtype: of computation.
      reads_start: whether the model reads the vocabulary's `bos_id` before a text.
      placement: the devices it lies on; None for one.
      training: what it was trained on, as far as that is known.
      prefix: token ids read before every text: the places of a soft prompt.
    """

    label: str
    network: Any
    params: Any
    vocabulary: Vocabulary
    step: int
    fingerprint: str
    dtype: Dtype = "float32"
    reads_start: bool = True
    placement: Placement | None = None
    training: Training = Training()  # noqa: RUF009 - frozen
    prefix: tuple[int, ...] = ()

    @property
    def parts(self) -> int:
        """Into how many parts devices split the rows of a batch."""
        return self.placement.parts if self.placement else 1

    @property
    def start_id(self) -> int | None:
        """The token read before a text; None for a model that begins with the text itself."""
        return self.vocabulary.bos_id if self.reads_start else None

    @functools.cached_property
    def unconditional(self) -> UnconditionalScores:
        """What is known of the scores of options without their inputs."""
        return UnconditionalScores()

    @functools.cached_property
    def newline_ids(self) -> tuple[int, ...]:
        """Tokens of the vocabulary that end a line."""
        return newline_ids(self.vocabulary, self.vocabulary.vocab_size)

    @functools.cached_property
    def decoder(self) -> tuple[Any, Any]:
        """Network and parameters as decoding wants them, see `flan.models.decoding.unrolled`."""
        from flan.models.decoding import unrolled

        return unrolled(self.network, self.params)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The context to compute in: on its devices, and in its precision.

        In it float32 means float32: by default TPUs and GPUs multiply it coarsely.
        """
        with contextlib.ExitStack() as stack:
            if self.dtype == "float32":
                stack.enter_context(jax.default_matmul_precision("float32"))
            if self.placement:
                stack.enter_context(self.placement.active())
            yield


def load_model(
    checkpoint: str | Path,
    *,
    label: str | None = None,
    step: int | Literal["best"] | None = None,
    vocabulary: str | Path | None = None,
    dtype: Dtype = "float32",
    ema: bool = False,
    devices: int | None = None,
    model_parallel: int | None = None,
) -> EvaluationModel:
    """Loads a checkpoint with the vocabulary it was trained with.

    Args:
      checkpoint: a model folder, or one of its `checkpoints/<step>`.
      label: name in results; the folder's name and the step (and "ema") by default.
      step: which checkpoint, or `best`; the newest by default.
      vocabulary: a vocabulary folder, where the model folder has none.
      dtype: of computation. In bfloat16 scores depend a little on how rows are batched.
      ema: the averaged parameters, of a run that kept them, instead of the last ones.
      devices, model_parallel: where it lies, see `flan.evaluation.placement.place`.

    Raises:
      FileNotFoundError: no such checkpoint or vocabulary.
      ValueError: a checkpoint that cannot be read, a label that cannot name a folder, a
        vocabulary that is not the model's or loses line ends, or an impossible number of
        devices.
    """
    from flan.checkpoints import layout
    from flan.checkpoints.inference import load_for_inference
    from flan.checkpoints.record import is_prefix_lm, record_in
    from flan.models.transformer import Transformer

    if label is not None:
        safe_name("checkpoint name", label)
    model_dir, _ = layout.split_step(Path(checkpoint))
    placement = shardings = None
    if model_dir.is_dir():
        stored = layout.read_model_config(model_dir)
        placement = place(stored, devices, model_parallel)
        shardings = placement.shardings(stored)
    found = load_for_inference(checkpoint, step, shardings, ema=ema)
    words = load_vocabulary(vocabulary or found.vocabulary_dir)
    check_vocabulary(words, found.model_config, found.metadata.get("vocabulary_fingerprint"))
    # Kernels and what they save are the training machine's business.
    config = dataclasses.replace(
        found.model_config, dtype=dtype, dropout_rate=0.0, remat="none", attention="auto"
    )
    check_finite(found.params, checkpoint)
    # Training always gives a start token; an imported model may never have seen one.
    reads_start = found.metadata.get("reads_start", True) is not False
    return EvaluationModel(
        label=label or default_label(Path(checkpoint), found.step) + ("-ema" if ema else ""),
        network=Transformer(config, prefix_lm=is_prefix_lm(found.metadata)),
        params=found.params,
        vocabulary=words,
        step=found.step,
        fingerprint=model_fingerprint(found.params, config, reads_start),
        dtype=dtype,
        reads_start=reads_start,
        placement=placement,
        training=Training(record_in(found.metadata, model_dir), model_dir),
        prefix=config.prompt_ids,
    )


def check_finite(params: Any, checkpoint: str | Path) -> None:
    """ValueError naming the first parameter with a number that is none, or is infinite."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    finite = jax.jit(lambda arrays: jnp.stack([jnp.isfinite(a).all() for a in arrays]))
    for (path, _), good in zip(leaves, finite([leaf for _, leaf in leaves]).tolist(), strict=True):
        if not good:
            raise ValueError(
                f"{checkpoint}: {path_name(path)} holds numbers that are not finite: the training "
                "diverged, or the file is bad; evaluate an earlier step (--step)"
            )


def default_label(checkpoint: Path, step: int) -> str:
    """`<model folder>-<step>`, with what cannot be in a file's name turned into "-"."""
    path = checkpoint.resolve()
    if path.name.isdigit() and path.parent.name == "checkpoints":
        path = path.parent.parent
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", path.name).strip("-.") or "model"
    return f"{plain[:80]}-{step}"


def check_vocabulary(
    vocabulary: Vocabulary, config: ModelConfig, fingerprint: str | None = None
) -> None:
    """ValueError where a vocabulary is not the one that a model was trained with.

    `fingerprint` is what the checkpoint says of its vocabulary; without it only the sizes
    can be compared.
    """
    if fingerprint is not None and fingerprint != vocabulary.fingerprint:
        raise ValueError(
            f"the vocabulary (fingerprint {vocabulary.fingerprint[:12]}) is not the one the "
            f"checkpoint was trained with ({fingerprint[:12]}): give that one with --vocabulary"
        )
    padding = config.vocab_size - vocabulary.vocab_size
    if padding < 0 or (fingerprint is None and padding >= _MOST_PADDING):
        raise ValueError(
            f"the vocabulary has {vocabulary.vocab_size} pieces, the checkpoint's embedding "
            f"{config.vocab_size} rows: give the vocabulary it was trained with (--vocabulary)"
        )
    check_round_trip(vocabulary)
