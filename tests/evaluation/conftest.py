"""A vocabulary of characters and a tiny transformer, small enough to check by brute force."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

LETTERS = "\n abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'\"-_()[]<>=/%"


@dataclasses.dataclass(frozen=True)
class CharVocabulary:
    """One token a character: 0 pad, 1 EOS, 2 unknown, then the letters."""

    pad_id: int = 0
    eos_id: int = 1
    unk_id: int = 2
    bos_id: int = 0
    fingerprint: str = "characters"

    @property
    def vocab_size(self):
        return len(LETTERS) + 3

    def encode(self, text):
        return [LETTERS.find(c) + 3 if c in LETTERS else self.unk_id for c in text]

    def encode_batch(self, texts):
        return [self.encode(t) for t in texts]

    def decode(self, ids):
        return "".join(LETTERS[i - 3] for i in ids if 3 <= i < self.vocab_size)


@pytest.fixture(scope="session")
def characters():
    return CharVocabulary()


@pytest.fixture(scope="session")
def full_logits():
    """`(model, params, read) -> float64 logits [len(read), V]`: one sequence alone in a row.

    Right-padded to one length so that it compiles once; causal attention keeps padding out.
    """
    length = 112
    forward = jax.jit(
        lambda model, params, tokens: model.apply({"params": params}, tokens)[0],
        static_argnums=0,
    )

    def logits(model, params, read):
        row = np.zeros((1, length), np.int32)
        row[0, : len(read)] = read
        return np.asarray(forward(model, params, row)).astype(np.float64)[: len(read)]

    return logits


@pytest.fixture(scope="session")
def tiny_model():
    """(model, params) with weights large enough that options differ clearly."""
    from flan.models.config import ModelConfig
    from flan.models.transformer import Transformer

    config = ModelConfig(
        vocab_size=96,
        num_layers=2,
        d_model=32,
        num_heads=4,
        d_head=8,
        d_ff=64,
        relative_max_distance=32,
    )
    model = Transformer(config)
    tokens = jnp.ones((1, 8), jnp.int32)
    params = model.init(jax.random.key(0), tokens, tokens)["params"]
    return model, jax.tree.map(lambda x: x * 1.5, params)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """(folder, params) of a model folder as `flan train` writes it, with random weights."""
    from flan.catalog.registry import get_dataset
    from flan.checkpoints import layout
    from flan.checkpoints.manager import CheckpointManager
    from flan.data.example_rows import demo_examples
    from flan.data.vocabulary import train_sentencepiece
    from flan.models.config import ModelConfig
    from flan.training.state import TrainState, init_params

    folder = tmp_path_factory.mktemp("run") / "model"
    folder.mkdir()
    texts = [t for e in demo_examples(get_dataset("rte"), 200) for t in e.fields.values.values()]
    vocabulary = train_sentencepiece(texts, folder / "vocabulary", 512, shrink=True)
    config = ModelConfig(
        vocab_size=0, num_layers=2, d_model=32, num_heads=4, d_head=8, d_ff=64
    ).for_vocabulary(vocabulary.vocab_size)
    layout.write_model_config(folder, config)
    params = init_params(config, jax.random.key(1))
    manager = CheckpointManager(folder)
    state = TrainState(jnp.int32(5), params, {"count": jnp.int32(5)})
    manager.save(state, {"vocabulary_fingerprint": vocabulary.fingerprint})
    manager.close()
    return folder, params
