"""The decoder-only transformer, callable as T5X's `DecoderOnlyModel` calls its module.

Shapes: B batch, L length, D d_model, V vocabulary. Parameters are stacked over layers
(axis 0, logical name `layers`) and the layers run in one `scan`, so that compile time and
program size do not grow with depth. Decoding unrolls them (`scan_layers=False`, see
`flan.models.decoding.unrolled`): a scan would copy each layer's weights and cache at each
step.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.partitioning import remat, scan_with_axes

from flan.models.attention import SelfAttention, attention_mask
from flan.models.attention_kernels import PLAIN, Kernel, choose_kernel
from flan.models.config import ModelConfig
from flan.models.layers import PRODUCT, Dense, Embed, RMSNorm, constrain
from flan.models.positions import RelativeBias


def _all_but_layouts(primitive: Any, *_: Any, **__: Any) -> bool:
    """Keeps all for the backward pass but what only says where an array lies.

    Flax asks for each parameter's layout where it is used, and the result would be kept: a
    second copy of frozen weights.
    """
    return primitive.name != "sharding_constraint"


_REMAT_POLICIES = {
    "none": _all_but_layouts,
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
        jax.checkpoint_policies.save_only_these_names(PRODUCT),
    ),
    "full": jax.checkpoint_policies.nothing_saveable,
}


class GatedMlp(nn.Module):
    """Gated linear unit (arXiv 2002.05202): `wo(activation(wi_0 x) * wi_1 x)`."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        config = self.config

        def dense(name: str, features: int, axes: tuple[str, str]) -> Dense:
            dtypes = (config.compute_dtype, jnp.dtype(config.param_dtype))
            return Dense(features, axes, *dtypes, lora=config.lora(name), name=name)

        # The tanh form is T5's GELU; silu is Llama's.
        activation = nn.silu if config.activation == "silu" else nn.gelu
        gate = activation(dense("wi_0", config.d_ff, ("embed", "mlp"))(x))
        hidden = gate * dense("wi_1", config.d_ff, ("embed", "mlp"))(x)
        hidden = constrain(hidden, "batch", "length", "mlp")
        hidden = nn.Dropout(config.dropout_rate, broadcast_dims=(-2,))(hidden, deterministic)
        return dense("wo", x.shape[-1], ("mlp", "embed"))(hidden)


class DecoderLayer(nn.Module):
    """Pre-norm attention and MLP, each on a residual branch."""

    config: ModelConfig
    deterministic: bool = True
    decode: bool = False
    prefill: bool = False
    kernel: Kernel = PLAIN

    @nn.compact
    def __call__(
        self, x: jax.Array, bias: jax.Array | None, mask: jax.Array, positions: jax.Array
    ) -> tuple[jax.Array, None]:
        config = self.config

        def norm(name: str) -> RMSNorm:
            return RMSNorm(
                config.norm_epsilon,
                config.compute_dtype,
                jnp.dtype(config.param_dtype),
                steady=self.kernel.steady,
                name=name,
            )

        # T5 drops whole features, the same at each place of a sequence.
        dropout = nn.Dropout(
            config.dropout_rate, broadcast_dims=(-2,), deterministic=self.deterministic
        )
        x = constrain(x, "batch", "length", "embed")
        attended = SelfAttention(config, name="self_attention")(
            norm("pre_self_attention_layer_norm")(x),
            bias,
            mask,
            positions,
            decode=self.decode,
            prefill=self.prefill,
            kernel=self.kernel,
        )
        x = x + dropout(attended)
        mixed = GatedMlp(config, name="mlp")(norm("pre_mlp_layer_norm")(x), self.deterministic)
        return constrain(x + dropout(mixed), "batch", "length", "embed"), None


class Transformer(nn.Module):
    """Token ids to logits.

    Attributes:
      config: sizes and switches.
      scan_layers: run the layers in one `scan`.
      prefix_lm: it was trained to see prompts both ways, which decoding and scoring then ask
        for; a call does what `decoder_causal_attention` says.
    """

    config: ModelConfig
    # T5X asks its modules for this to find the batch axis of a cache.
    scan_layers: bool = True
    prefix_lm: bool = False

    @nn.compact
    def __call__(
        self,
        decoder_input_tokens: jax.Array,
        decoder_target_tokens: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        decoder_positions: jax.Array | None = None,
        decoder_causal_attention: jax.Array | None = None,
        *,
        enable_dropout: bool = False,
        decode: bool = False,
        max_decode_length: int | None = None,
        prefill: bool = False,
        prefill_lengths: jax.Array | None = None,
        logit_positions: jax.Array | None = None,
        decoder_option_ids: jax.Array | None = None,
    ) -> jax.Array:
        """Logits of the next token at each place.

        Args:
          decoder_input_tokens: int32 `[B, L]`, shifted right (see `flan.data.batch`); of a
            soft prompt the ids `ModelConfig.prompt_ids`.
          decoder_target_tokens: int32 `[B, L]`; used where there are no segment ids, to
            tell padding (0) from text. None: everything is text.
          decoder_segment_ids: int32 `[B, L]`, one number for each packed example.
          decoder_positions: int32 `[B, L]`, for rotary embeddings. The relative bias counts
            places in the row, the same thing within a segment without options.
          decoder_causal_attention: `[B, L]`, 1 where attention is bidirectional.
          enable_dropout: needs a `dropout` random stream when the rate is not 0.
          decode: make an empty cache of L slots, or, with a cache, read one token a row.
          max_decode_length: accepted for T5X; the cache's own size counts.
          prefill: fill the cache with L tokens.
          prefill_lengths: int32 `[B]`, real tokens of each row of a prefill; all L if None.
          logit_positions: int32 `[B, N]`; logits at these places only.
          decoder_option_ids: int32 `[B, L]`, for segments with several continuations of one
            text: 0 for the text, 1, 2, ... for each continuation, which sees the text and
            itself. Needs `decoder_positions`: each continuation's follow the text's.

        Returns:
          float32 `[B, L, V]`, or `[B, N, V]` with `logit_positions`.

        Raises:
          ValueError: `decoder_option_ids` without `decoder_positions`.
        """
        if decoder_option_ids is not None and decoder_positions is None:
            raise ValueError("decoder_option_ids need decoder_positions: places say nothing then")
        config = self.config
        batch, length = decoder_input_tokens.shape
        param_dtype = jnp.dtype(config.param_dtype)
        embed = Embed(
            config.vocab_size,
            config.d_model,
            config.compute_dtype,
            param_dtype,
            len(config.prompt_ids),
            name="token_embedder",
        )
        # T5X makes its evaluation's parameters with tokens in floats.
        x = embed(decoder_input_tokens.astype(jnp.int32))
        if config.scale_embeddings:
            x = x * jnp.asarray(config.d_model**0.5, x.dtype)
        x = constrain(x, "batch", "length", "embed")
        x = nn.Dropout(config.dropout_rate, broadcast_dims=(-2,))(x, not enable_dropout)

        segments = decoder_segment_ids
        # A prompt is one text, whatever its ids; what pads it comes after it and is not seen.
        if segments is None and decoder_target_tokens is not None and not prefill:
            segments = (decoder_target_tokens > 0).astype(jnp.int32)
        positions, mask, step_slots = self._places(
            batch,
            length,
            segments,
            decoder_positions,
            decoder_causal_attention,
            decode,
            prefill,
            prefill_lengths,
            decoder_option_ids,
        )
        bias = None
        if config.positions == "relative":
            relative = RelativeBias(
                config.num_heads,
                config.relative_buckets,
                config.relative_max_distance,
                param_dtype,
                name="relpos_bias",
            )
            if step_slots is not None:
                bias = relative(1, step_slots, positions)
            elif decoder_option_ids is not None:
                bias = relative(length, length, positions, positions)
            else:
                bias = relative(length, length)
            bias = constrain(bias, None, "heads", None, None)

        kernel = PLAIN
        if step_slots is None:
            causal = decoder_causal_attention is None
            kernel = choose_kernel(config, batch, length, causal, decoder_option_ids is not None)
        if kernel.wants_segments:
            mask = jnp.ones((batch, length), jnp.int32) if segments is None else segments
        layers = self._layers(not enable_dropout, decode, prefill, kernel)
        x = layers(x, bias, mask, positions)[0]
        x = RMSNorm(
            config.norm_epsilon,
            config.compute_dtype,
            param_dtype,
            steady=kernel.steady,
            name="decoder_norm",
        )(x)
        if logit_positions is not None:
            x = jnp.take_along_axis(x, logit_positions[:, :, None], axis=1)
        if config.tie_embeddings:
            # T5's factor; Llama and its kin have none.
            logits = embed.attend(x * config.d_model**-0.5 if config.scale_logits else x)
        else:
            logits = Dense(
                config.vocab_size,
                ("embed", "vocab"),
                config.compute_dtype,
                param_dtype,
                out_dtype=jnp.float32,
                name="logits_dense",
            )(x)
        return constrain(logits, "batch", "length", "vocab")

    def _layers(self, deterministic: bool, decode: bool, prefill: bool, kernel: Kernel) -> Any:
        """All layers as one function, `(x, bias, mask, positions) -> (x, None)`."""
        if not self.scan_layers:
            modules = [
                DecoderLayer(
                    self.config, deterministic, decode, prefill, kernel, name=f"layers_{i}"
                )
                for i in range(self.config.num_layers)
            ]

            def run(x: jax.Array, *shared: Any) -> tuple[jax.Array, None]:
                for module in modules:
                    x, _ = module(x, *shared)
                return x, None

            return run
        layer: Any = DecoderLayer
        freezes = self.config.adapter is not None
        if (self.config.remat != "none" or freezes) and not (decode or prefill):
            layer = remat(layer, prevent_cse=False, policy=_REMAT_POLICIES[self.config.remat])
        scanned = scan_with_axes(
            layer,
            variable_axes={"params": 0, "cache": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast, nn.broadcast, nn.broadcast),
            length=self.config.num_layers,
            axis_name="layers",
        )
        return scanned(self.config, deterministic, decode, prefill, kernel, name="layers")

    def _places(
        self,
        batch: int,
        length: int,
        segment_ids: jax.Array | None,
        positions: jax.Array | None,
        bidirectional: jax.Array | None,
        decode: bool,
        prefill: bool,
        prefill_lengths: jax.Array | None,
        option_ids: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array, int | None]:
        """Positions `[B, L]`, mask `[B or 1, 1, L, S]`, and the cache's size in a decoding step."""
        row = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), (batch, length))
        if decode or prefill:
            ready = self.has_variable("cache", "cache_index")
            # [1, B]: whoever repeats or picks rows of a cache finds the batch on axis 1 everywhere.
            index = self.variable("cache", "cache_index", jnp.zeros, (1, batch), jnp.int32)
            if decode and ready:
                if length != 1:
                    raise ValueError(f"a decoding step reads 1 token a row, got {length}")
                now = index.value[0]
                index.value = index.value + 1
                layer = self.variables["cache"]["layers" if self.scan_layers else "layers_0"]
                size = layer["self_attention"]["cached_key"].shape[-2]  # [..., B, K, S, d]
                mask = (jnp.arange(size)[None] <= now[:, None])[:, None, None, :]
                return now[:, None], mask, size
            if prefill:
                full = jnp.full((batch,), length, jnp.int32)
                index.value = (full if prefill_lengths is None else prefill_lengths)[None]
            # Padding at the end of a prompt is never seen: later steps overwrite its slots
            # one by one, and the mask stops at the slot just written.
            return row, attention_mask(length, None, bidirectional), None
        mask = attention_mask(length, segment_ids, bidirectional, option_ids)
        return row if positions is None else positions, mask, None
