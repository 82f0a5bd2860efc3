"""The decoder-only transformer, its loss and its decoding. No TensorFlow."""

from flan.models.config import ModelConfig
from flan.models.decoding import greedy_decode
from flan.models.transformer import Transformer

__all__ = ["ModelConfig", "Transformer", "greedy_decode"]
