"""What may be trained in the place of the network itself: LoRA, or a soft prompt.

Both are part of a `ModelConfig` (`adapter`) and of its parameters, so that a checkpoint is
whole. LoRA can be merged into the network (`flan.models.merge`); a soft prompt cannot: it is
read as tokens of its own, whose ids follow those of the embedding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

from flan.suggest import unknown_name

# The products that LoRA may adapt: all of a layer.
LORA_TARGETS = ("query", "key", "value", "out", "wi_0", "wi_1", "wo")


@dataclasses.dataclass(frozen=True)
class Lora:
    """Low-rank adaptation (arXiv 2106.09685): `x W + (alpha / rank) x A B`, W frozen.

    B is zero at first, so that tuning begins with the network as it is. A and B are float32.

    Attributes:
      rank: columns of A, rows of B.
      alpha: with the rank, the scale of the product.
      targets: names of the products that are adapted, a list or joined by commas; by default
        all of `LORA_TARGETS`, which it takes to match full finetuning (arXiv 2305.14314,
        section 4).
      dropout_rate: on what A reads, in training.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: str | tuple | list = LORA_TARGETS
    dropout_rate: float = 0.0

    def __post_init__(self) -> None:
        given = self.targets.split(",") if isinstance(self.targets, str) else self.targets
        names = tuple(dict.fromkeys(str(name).strip() for name in given))
        for name in names:
            if name not in LORA_TARGETS:
                raise ValueError(unknown_name("target of LoRA", name, LORA_TARGETS))
        if not names:
            raise ValueError(f"Lora.targets is empty: give some of {', '.join(LORA_TARGETS)}")
        if self.rank < 1:
            raise ValueError(f"Lora.rank must be 1 or more, got {self.rank}")
        if not self.alpha > 0:
            raise ValueError(f"Lora.alpha must be above 0, got {self.alpha}")
        if not 0 <= self.dropout_rate < 1:
            raise ValueError(
                f"Lora.dropout_rate must be at least 0 and below 1, got {self.dropout_rate}"
            )
        # In one order: the same targets are the same adapter.
        ordered = tuple(name for name in LORA_TARGETS if name in names)
        object.__setattr__(self, "targets", ordered)

    @property
    def scale(self) -> float:
        """Factor on the product of A and B."""
        return self.alpha / self.rank

    @property
    def parameters(self) -> Sequence[str]:
        """Names of its parameters' leaves."""
        return ("lora_a", "lora_b")


@dataclasses.dataclass(frozen=True)
class SoftPrompt:
    """Prompt tuning (arXiv 2104.08691): learned embeddings that stand before each example.

    Attributes:
      length: how many; FLAN's experiments had 10 (arXiv 2109.01652, section 4.5).
      init: `vocabulary` draws embeddings of tokens of the vocabulary (its first 5,000: the
        most frequent ones), `random` numbers uniform in [-0.5, 0.5].
    """

    length: int = 10
    init: Literal["vocabulary", "random"] = "vocabulary"

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"SoftPrompt.length must be 1 or more, got {self.length}")
        if self.init not in ("vocabulary", "random"):
            raise ValueError(unknown_name("SoftPrompt.init", self.init, ("vocabulary", "random")))

    @property
    def parameters(self) -> Sequence[str]:
        """Names of its parameters' leaves."""
        return ("soft_prompt",)


Adapter = Lora | SoftPrompt
_KINDS: dict[str, type[Lora] | type[SoftPrompt]] = {"lora": Lora, "prompt": SoftPrompt}


def adapter_to_json(adapter: Adapter | None) -> dict[str, Any] | None:
    """Plain values; `adapter_from_json` reads them back."""
    if adapter is None:
        return None
    kind = next(name for name, cls in _KINDS.items() if isinstance(adapter, cls))
    return {"kind": kind, **dataclasses.asdict(adapter)}


def adapter_from_json(values: Any) -> Adapter | None:
    """The adapter that `adapter_to_json` wrote; ValueError for anything else."""
    if values is None or isinstance(values, Lora | SoftPrompt):
        return values
    if not isinstance(values, dict) or values.get("kind") not in _KINDS:
        raise ValueError(f"adapter must be null or of a kind in {list(_KINDS)}, got {values!r}")
    settings = {name: value for name, value in values.items() if name != "kind"}
    try:
        return _KINDS[values["kind"]](**settings)
    except TypeError as error:
        raise ValueError(f"adapter has other entries than expected: {error}") from error


def choose_adapter(
    name: str | None, lora: Callable[[], Lora], prompt: Callable[[], SoftPrompt]
) -> Adapter | None:
    """What a run trains in the place of all parameters.

    Args:
      name: `lora`, `prompt`, or None for all parameters.
      lora, prompt: make the settings of each.

    Raises ValueError for another name, and what the chosen one raises.
    """
    if name is None:
        return None
    choices: dict[str, Callable[[], Adapter]] = {"lora": lora, "prompt": prompt}
    if name not in choices:
        raise ValueError(unknown_name("PEFT", name, choices))
    return choices[name]()
