"""What gin files may configure, by the names they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flan.models.adapters import Lora, SoftPrompt, choose_adapter
from flan.models.config import ModelConfig
from flan.models.loss import LossConfig
from flan.models.rope_scaling import RopeScaling
from flan.partitioning import MeshConfig
from flan.training.data import InstructionData, TextData
from flan.training.loop import LoopConfig
from flan.training.optimizer import OptimizerConfig
from flan.training.seqio_data import SeqioData, choose_data
from flan.training.settings import RunConfig
from flan.training.step import StepConfig

CONFIGURABLES: dict[str, Callable[..., Any]] = {
    target.__name__: target
    for target in (
        InstructionData,
        Lora,
        LoopConfig,
        LossConfig,
        MeshConfig,
        ModelConfig,
        OptimizerConfig,
        RopeScaling,
        RunConfig,
        SeqioData,
        SoftPrompt,
        StepConfig,
        TextData,
        choose_adapter,
        choose_data,
    )
}
