"""The decoder-only transformer, its loss and its decoding. No TensorFlow."""

from flan.models.config import ModelConfig
from flan.models.sampling import Decoding
from flan.models.transformer import Transformer

__all__ = ["Decoding", "ModelConfig", "Transformer"]
