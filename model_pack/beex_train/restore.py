"""A pack as a network again, the inverse of export.py: to run many texts at once, to measure what a pack does under other settings, and to train on from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .base import Base
from .binary import BinaryLinear, Quantizer, few_bit_rows, sign
from .export import quantizers
from .model import Classifier, ModelConfig
from .pack import SLFN_FORMS, TASKS, TEXT_NGRAMS, PackError, PackFile, unpack_bits, unpack_few_bits

LATENT = 1 / 6  # size of the latent weights of a base that was a pack, which kept their signs only; half of what they have on average after training, so that they move


def base_of_pack(pack: PackFile) -> Base:
    """A pack's embeddings and blocks as a base, for other rows, other labels, or fewer blocks and word pieces. Its exits and n-grams stay behind.
    Raises PackError for a pack that keeps case, as bases do not."""
    if not pack.config["normalizer"]:
        raise PackError("this pack keeps case, which no base does; use --base none --keep-case")
    model, bits = restore(pack), pack.config["embedding_bits"]
    with torch.no_grad():
        for layer in model.binary_layers():
            layer.weight.copy_(LATENT * sign(layer.weight))
        token = model.embeddings.token
        again = few_bit_rows(token, bits)  # a row that has been rounded is not rounded to itself
        token.mul_((token * token).sum(-1, keepdim=True) / (token * again).sum(-1, keepdim=True).clamp_min(1e-12))
    state = {name: value for name, value in model.state_dict().items() if name.startswith(("embeddings.", "blocks."))}
    features = {"task": "features", "classes": 0, "ngram_buckets": 0, "text_ngrams": False, "skip_width": 0}
    shape = replace(model.config, embedding_bits=bits, position_bits=pack.config["position_bits"], **features)
    about = {key: pack.metadata.get(key) for key in ("name", "data", "licence", "base")}
    return Base(shape, pack.lines("vocabulary"), state, about)


def restore(pack: PackFile) -> Classifier:
    """The network of a pack, in evaluation mode. Tables hold the values that the pack stands for, latent weights only their signs."""
    c = pack.config
    bits = pack.raw("activation.bits").reshape(c["blocks"], -1)
    config = ModelConfig(
        task=TASKS[c["task"]], classes=c["classes"], vocabulary_size=c["vocabulary_size"], hidden_size=c["hidden_size"], blocks=c["blocks"],
        heads=c["heads"], slfn_size=c["slfn_size"], max_tokens=c["max_tokens"], inputs=c["inputs"], activation_bits=int(bits[0, 0]),
        embedding_bits=32, position_bits=32, slfn_form=SLFN_FORMS[c["slfn_form"]], pooling=("mean", "cls")[c["pooling"]],
        ngram_buckets=c["ngram_buckets"], ngram_longest=max(1, c["ngram_longest"]), ngram_bits=32, text_ngrams=bool(c["features"] & TEXT_NGRAMS),
        skip_width=c["skip_width"],
    )  # fmt: skip
    model = Classifier(config)
    model.profile = None if pack.profile is None else pack.profile.tolist()
    model.doubtful, model.share_in_doubt = pack.doubtful, pack.share_in_doubt
    steps = 1 / pack.floats("activation.inverse_step", *bits.shape)
    with torch.no_grad():
        _put(model.embeddings.token, _rows(pack, "embedding", c["vocabulary_size"], c["embedding_bits"]))
        _put(model.embeddings.position, _rows(pack, "position", c["max_tokens"], c["position_bits"]))
        if model.embeddings.segment is not None:
            _put(model.embeddings.segment, _rows(pack, "segment", 2, 8))
        _put_norm(model.embeddings.norm, pack, "embedding.norm")
        for i, block in enumerate(model.blocks):
            for quantizer, site_bits, step in zip(quantizers(block), bits[i].tolist(), steps[i].tolist()):
                quantizer.bits = site_bits
                quantizer.step.fill_(step)
                quantizer.ready.fill_(True)
            attention, slfn = block.attention, block.slfn
            layers = {"qkv": attention.qkv, "output": attention.output, "hidden": slfn.hidden, "gate": slfn.gate, "content": slfn.content}
            for name, layer in layers.items():
                if layer is not None:
                    _put_linear(layer, pack, f"block{i}.{name}")
            _put_norm(block.attention_norm, pack, f"block{i}.attention.norm")
            _put_norm(block.slfn_norm, pack, f"block{i}.slfn.norm")
        for i, gate in enumerate(model.gates):
            _put(gate.hidden.weight, pack.floats(f"block{i}.skip.weight", *gate.hidden.weight.shape))
            _put(gate.hidden.bias, pack.floats(f"block{i}.skip.bias", -1))
            _put(gate.output.weight, pack.floats(f"block{i}.skip.output", 1, -1))
            _put(gate.output.bias, pack.floats(f"block{i}.skip.output_bias", 1))
        if model.ngrams is not None:
            places = pack.ngram_places
            q = unpack_few_bits(pack.raw("ngram.rows"), len(places), config.ngram_columns, c["ngram_bits"])
            model.ngrams.keep(places, (pack.floats("ngram.scale", -1) * (q - 2 ** (c["ngram_bits"] - 1))).astype(np.float32))
        for i, head in enumerate(model.exits):
            weight = _rows(pack, f"exit{i}", c["classes"], 8) if c["exit_bits"] else pack.floats(f"exit{i}.weight", c["classes"], -1)
            _put(head.weight, weight)
            _put(head.bias, pack.floats(f"exit{i}.bias", -1))
    return model.eval()


def _put(parameter: torch.Tensor, values: np.ndarray) -> None:
    parameter.copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)))


def _put_norm(norm: torch.nn.LayerNorm, pack: PackFile, name: str) -> None:
    gamma, beta = pack.floats(name, 2, -1)
    _put(norm.weight, gamma)
    _put(norm.bias, beta)


def _put_linear(layer: BinaryLinear, pack: PackFile, name: str) -> None:
    """Take the activation's levels out of scale and bias again (export._add_linear)."""
    quantizer: Quantizer = layer.quantize
    rows, columns = layer.weight.shape
    signs = unpack_bits(pack.raw(f"{name}.bits"), rows, columns)
    scale, bias = pack.floats(f"{name}.scale", rows), pack.floats(f"{name}.bias", rows)
    if quantizer.signed:
        _put(quantizer.threshold, pack.floats(f"{name}.threshold", columns))
    else:
        bias = bias - scale * (2**quantizer.bits - 1) * signs.sum(1, dtype=np.float32)
    _put(layer.weight, 0.5 * signs)
    _put(layer.scale, scale / (quantizer.step.item() / 2))
    _put(layer.bias, bias)


def _rows(pack: PackFile, name: str, rows: int, bits: int) -> np.ndarray:
    """Few-bit rows (rows, columns) as numbers."""
    packed = pack.raw(f"{name}.rows")
    q = unpack_few_bits(packed, rows, 8 * len(packed) // (rows * bits), bits)
    return pack.floats(f"{name}.scale", rows, 1) * (2 * q - (2**bits - 1))
