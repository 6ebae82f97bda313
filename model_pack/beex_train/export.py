"""A trained network as a pack."""

from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np
import torch

from .binary import BinaryLinear, Quantizer, few_bit_column_indices, few_bit_column_scale, few_bit_indices, few_bit_scale
from .model import Attention, Block, Classifier
from .pack import (
    CLASS_TEMPERATURES, CONFIG_FIELDS, CONFIG_WORDS, DOUBT, ELIMINATION, SHARE_SHIFT, SHARES_IN_DOUBT, SLFN_FORMS, TASKS, TEXT_NGRAMS, CurvePoint, ExitRule, PackWriter, curve_section,
    doubtful_section, json_section, lines_section, pack_bits, pack_few_bits,
)  # fmt: skip
from .tokenizer import Encoder


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float32)


def _step(quantizer: Quantizer) -> np.float32:
    return np.float32(abs(quantizer.step.item())).clip(np.float32(1e-4))


def _add_rows(writer: PackWriter, name: str, rows: torch.Tensor, bits: int) -> None:
    rows = rows.detach()
    scale = few_bit_scale(rows, bits)
    writer.add(f"{name}.rows", pack_few_bits(_array(few_bit_indices(rows, scale, bits)), bits))
    writer.add(f"{name}.scale", _array(scale).ravel())


def _add_linear(writer: PackWriter, name: str, layer: BinaryLinear) -> None:
    """Fold the activation's levels into scale and bias (FORMAT.md, "Activations" and "Binary linear")."""
    quantizer = layer.quantize
    step, bits = _step(quantizer), quantizer.bits
    positive = _array(layer.weight) >= 0
    scale, bias = _array(layer.scale), _array(layer.bias)
    if quantizer.signed:
        threshold = _array(quantizer.threshold)
    else:
        threshold = np.full(positive.shape[1], step * np.float32(2 ** (bits - 1) - 0.5), np.float32)
        row_sum = (positive * 2.0 - 1.0).sum(1)
        bias = (bias + scale * (step / 2) * (2**bits - 1) * row_sum).astype(np.float32)
    writer.add(f"{name}.threshold", threshold)
    writer.add(f"{name}.bits", pack_bits(positive))
    writer.add(f"{name}.scale", scale * (step / np.float32(2)))
    writer.add(f"{name}.bias", bias)


def _norm(layer: torch.nn.LayerNorm) -> np.ndarray:
    return np.stack([_array(layer.weight), _array(layer.bias)])


def quantizers(block: Block) -> list[Quantizer]:
    """The block's quantizers in the order of `activation.bits`; the bounded form has no gate hidden site and repeats the content's."""
    attention, slfn = block.attention, block.slfn
    gate = slfn.gate if slfn.gate is not None else slfn.content
    return [
        attention.qkv.quantize, attention.query, attention.key, attention.output.quantize,
        slfn.hidden.quantize, gate.quantize, slfn.content.quantize,
    ]  # fmt: skip


def _score_scale(attention: Attention) -> np.ndarray:
    head_size = attention.output.weight.shape[1] // attention.heads
    product = float(_step(attention.query)) / 2 * float(_step(attention.key)) / 2
    return np.array([product / math.sqrt(head_size)], np.float32)


def export(
    model: Classifier,
    encoder: Encoder,
    labels: Sequence[str],
    metadata: dict[str, Any],
    temperatures: Sequence[float] | np.ndarray | None = None,
    rule: ExitRule = ExitRule(),
    thresholds: Sequence[float] | None = None,
    curve: Sequence[CurvePoint] = (),
) -> bytes:
    """The pack of a binarized network; `temperatures` are (exits,) or (exits, classes), `thresholds` those of a multi-label task.

    Raises ValueError for a float twin.
    """
    config = model.config
    if not config.binary or config.activation_bits > 4:
        raise ValueError("a float twin cannot be exported; train with binary weights")
    if config.slfn_form not in SLFN_FORMS:
        raise ValueError(f"no pack holds the SLFN form {config.slfn_form!r}, which is for comparison only")
    writer = PackWriter()
    temperatures = np.asarray(temperatures if temperatures is not None else [1.0] * len(model.exits), np.float64)
    features = (model.profile is not None) * ELIMINATION + (temperatures.ndim == 2) * CLASS_TEMPERATURES + config.text_ngrams * TEXT_NGRAMS
    if model.doubtful:
        features += DOUBT + (SHARES_IN_DOUBT.index(model.share_in_doubt) << SHARE_SHIFT)
    values = {
        "inputs": config.inputs, "task": TASKS.index(config.task), "classes": config.classes, "vocabulary_size": config.vocabulary_size,
        "hidden_size": config.hidden_size, "blocks": config.blocks, "heads": config.heads, "slfn_size": config.slfn_size,
        "max_tokens": config.max_tokens, "embedding_bits": config.embedding_bits, "position_bits": config.position_bits,
        "slfn_form": SLFN_FORMS.index(config.slfn_form), "pooling": int(config.pooling == "cls"), "attention": 0,
        "normalizer": int(encoder.fold_case), "cls_id": encoder.cls_id, "sep_id": encoder.sep_id, "unk_id": encoder.unk_id,
        "ngram_buckets": config.ngram_buckets, "ngram_longest": config.ngram_longest if config.ngram_buckets else 0,
        "ngram_bits": config.ngram_bits if config.ngram_buckets else 0, "exit_bits": 8 if config.exit_bits == 8 and model.exits else 0,
        "skip_width": config.skip_width, "features": features,
    }  # fmt: skip
    words = np.zeros(CONFIG_WORDS, np.uint32)
    words[: len(CONFIG_FIELDS)] = [values[field] for field in CONFIG_FIELDS]
    writer.add("config", words)
    writer.add("metadata", json_section(metadata), required=False)
    writer.add("labels", lines_section(labels))
    writer.add("vocabulary", lines_section(encoder.vocabulary))
    sites = [quantizers(block) for block in model.blocks]
    writer.add("activation.bits", np.array([[site.bits for site in row] for row in sites], np.uint8))
    writer.add("activation.inverse_step", np.array([[1 / _step(site) for site in row] for row in sites], np.float32))
    embeddings = model.embeddings
    _add_rows(writer, "embedding", embeddings.token, config.embedding_bits)
    _add_rows(writer, "position", embeddings.position, config.position_bits)
    if embeddings.segment is not None:
        _add_rows(writer, "segment", embeddings.segment, 8)
    writer.add("embedding.norm", _norm(embeddings.norm))
    for i, block in enumerate(model.blocks):
        _add_linear(writer, f"block{i}.qkv", block.attention.qkv)
        writer.add(f"block{i}.attention.score_scale", _score_scale(block.attention))
        _add_linear(writer, f"block{i}.output", block.attention.output)
        writer.add(f"block{i}.attention.norm", _norm(block.attention_norm))
        _add_linear(writer, f"block{i}.hidden", block.slfn.hidden)
        if block.slfn.gate is not None:
            _add_linear(writer, f"block{i}.gate", block.slfn.gate)
        _add_linear(writer, f"block{i}.content", block.slfn.content)
        writer.add(f"block{i}.slfn.norm", _norm(block.slfn_norm))
    if model.profile is not None:
        writer.add("elimination.profile", np.array(model.profile, np.float32))
    if model.ngrams is not None:
        rows = model.ngrams.rows.detach()
        scale = few_bit_column_scale(rows, config.ngram_bits)
        levels = _array(few_bit_column_indices(rows, scale, config.ngram_bits))
        says = (levels != 2 ** (config.ngram_bits - 1)).any(1)
        kept = np.zeros(config.ngram_buckets, bool)
        kept[model.ngrams.places.cpu().numpy()[says]] = True
        writer.add("ngram.kept", np.packbits(kept, bitorder="little"))
        writer.add("ngram.rows", pack_few_bits(levels[says], config.ngram_bits))
        writer.add("ngram.scale", _array(scale))
    if config.task == "features":
        return writer.to_bytes()
    for i, head in enumerate(model.exits):
        if config.exit_bits == 8:
            _add_rows(writer, f"exit{i}", head.weight, 8)
        else:
            writer.add(f"exit{i}.weight", _array(head.weight))
        writer.add(f"exit{i}.bias", _array(head.bias))
    for i, gate in enumerate(model.gates):
        writer.add(f"block{i}.skip.weight", _array(gate.hidden.weight))
        writer.add(f"block{i}.skip.bias", _array(gate.hidden.bias))
        writer.add(f"block{i}.skip.output", _array(gate.output.weight).ravel())
        writer.add(f"block{i}.skip.output_bias", _array(gate.output.bias))
    if model.doubtful:
        writer.add("exit0.doubtful", doubtful_section(model.doubtful, config.vocabulary_size))
    writer.add("exit.inverse_temperature", (1 / temperatures).astype(np.float32))
    if thresholds is not None:
        writer.add("threshold.by_label", np.array(thresholds, np.float32))
    writer.add("exit.rule", rule.pack())
    if curve:
        writer.add("policy.curve", curve_section(curve), required=False)
    return writer.to_bytes()
