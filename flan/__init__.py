"""FLAN in JAX: instruction tuning end to end. Importing this imports nothing heavy."""

__version__ = "0.1.0"
