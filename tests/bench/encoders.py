"""Encoders of the same shapes with random weights, for onnxruntime-web and for beex.

    python encoders.py FOLDER      with model_pack in PYTHONPATH

writes, for every shape, SHAPE.fp32.onnx and SHAPE.int8.onnx (BERT with pooler and two classes, as onnxruntime's own optimizer leaves
it: fused attention, normalization and GELU, which is at least as fast as the plain graph; int8 by `quantize_dynamic`) and
SHAPE.beex and SHAPE.w1a1.beex (packs with 4-bit and with 1-bit activations, rectified SLFN, as the published ones).

An SLFN has d·(d + f) + f·d weights, a feed-forward layer 2·d·F. With f = F - d/2 they have the same number, so that a block of both
encoders does the same number of multiply-adds in its matrices.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from beex_train.golden import random_pack

BERT_VOCABULARY, BERT_POSITIONS, BERT_SEGMENTS = 30522, 512, 2
VOCABULARY, TOKENS = 8192, 128  # of the packs


@dataclass
class Shape:
    """blocks, hidden size d, feed-forward width F, heads."""

    blocks: int
    hidden: int
    feed_forward: int
    heads: int


SHAPES = {"tiny": Shape(2, 128, 512, 2), "mini": Shape(4, 256, 1024, 4), "minilm": Shape(6, 384, 1536, 12)}


class Graph:
    """Collects nodes and weights; values are named as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(1)

    def constant(self, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values, f"weight{len(self.weights)}"))
        return self.weights[-1].name

    def weight(self, *shape: int) -> str:
        return self.constant((0.02 * self.random.standard_normal(shape)).astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, domain: str = "", output: str = "", **attributes: object) -> str:
        name = output or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, name=f"{kind}{len(self.nodes)}", **attributes))
        return name

    def fused(self, kind: str, *inputs: str, **attributes: object) -> str:
        return self.op(kind, *inputs, domain="com.microsoft", **attributes)


def bert(shape: Shape) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids (1, tokens) int64 -> logits (1, 2)."""
    g, d = Graph(), shape.hidden

    def norm_weights() -> tuple[str, str]:
        return g.constant(np.ones(d, np.float32)), g.constant(np.zeros(d, np.float32))

    def linear(x: str, rows: int, **options: str) -> str:
        return g.op("Add", g.op("MatMul", x, g.weight(d, rows)), g.weight(rows), **options)

    def add_and_norm(x: str, rest: str, bias: str) -> str:
        return g.fused("SkipLayerNormalization", x, rest, *norm_weights(), bias, epsilon=1e-12)

    tokens = g.op("Gather", g.op("Shape", "input_ids"), g.integers(1), axis=0)
    places = g.op("Slice", g.constant(np.arange(BERT_POSITIONS, dtype=np.int64)[None]), g.integers(0), tokens, g.integers(1))
    rows = ((BERT_VOCABULARY, "input_ids"), (BERT_SEGMENTS, "token_type_ids"), (BERT_POSITIONS, places))
    token, segment, position = (g.op("Gather", g.weight(count, d), ids) for count, ids in rows)
    h = g.op("LayerNormalization", g.op("Add", g.op("Add", token, segment), position), *norm_weights(), axis=-1, epsilon=1e-12)
    mask = g.op("Cast", "attention_mask", to=TensorProto.INT32)
    for _ in range(shape.blocks):
        context = g.fused("Attention", h, g.weight(d, 3 * d), g.weight(3 * d), mask, num_heads=shape.heads)
        h = add_and_norm(g.op("MatMul", context, g.weight(d, d)), h, g.weight(d))
        hidden = g.fused("BiasGelu", g.op("MatMul", h, g.weight(d, shape.feed_forward)), g.weight(shape.feed_forward))
        h = add_and_norm(g.op("MatMul", hidden, g.weight(shape.feed_forward, d)), h, g.weight(d))
    pooled = g.op("Tanh", linear(g.op("Gather", h, g.constant(np.array(0, np.int64)), axis=1), d))
    linear(pooled, 2, output="logits")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "tokens"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
    graph = helper.make_graph(g.nodes, "bert", inputs, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])], g.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def pack(name: str, shape: Shape, bits: int) -> bytes:
    """A pack of the shape with a vocabulary of made-up words: aaaa, aaab … are one token each."""
    words = ("".join(letters) for letters in product("abcdefghij", repeat=4))
    vocabulary = ["[CLS]", "[SEP]", "[UNK]", *(word for word, _ in zip(words, range(VOCABULARY - 3)))]
    return random_pack(
        name, ["yes", "no"], 1, task="single", slfn_form="rectified", pooling=0, bits=bits, blocks=shape.blocks, hidden_size=shape.hidden,
        slfn_size=shape.feed_forward - shape.hidden // 2, heads=shape.heads, tokens=TOKENS, vocabulary=vocabulary,
    )  # fmt: skip


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in SHAPES.items():
        path = folder / f"{name}.fp32.onnx"
        onnx.save(bert(shape), path)
        # The type of values that come from fused nodes is not inferred.
        quantize_dynamic(path, folder / f"{name}.int8.onnx", weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT})
        (folder / f"{name}.beex").write_bytes(pack(name, shape, 4))
        (folder / f"{name}.w1a1.beex").write_bytes(pack(name, shape, 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
