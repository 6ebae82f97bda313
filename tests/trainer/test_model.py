"""The network: shapes, soft routing, padding, parameter counts, and export = simulation."""

import numpy as np
import pytest
import torch

from beex_train.exits import Exits
from beex_train.export import export
from beex_train.inputs import Inputs
from beex_train.linear import linear_logits
from beex_train.golden import TEXTS, tiny_pack, write_golden
from beex_train.model import SLFN, Classifier, Dropout, ModelConfig, soft_routing_loss
from beex_train.pack import ExitRule, PackError, PackFile
from beex_train.simulate import Simulator
from beex_train.tokenizer import Encoder, train_vocabulary
from conftest import ROOT


def small(**changes) -> ModelConfig:
    options = dict(classes=3, vocabulary_size=90, hidden_size=64, blocks=2, heads=2, slfn_size=128, max_tokens=32, dropout=0.0)
    return ModelConfig(**{**options, **changes})


def prepared(config: ModelConfig, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier(config)
    ids = torch.randint(0, config.vocabulary_size, (8, 12))
    segments = torch.zeros_like(ids)
    model.initialise(ids, torch.ones_like(ids, dtype=torch.bool), segments if config.inputs == 2 else None)
    with torch.no_grad():
        # As after training: nothing exactly at its starting value.
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("threshold", "bias", "scale", "exits", "ngrams")):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.mark.parametrize("slfn_form", ["open", "bounded", "rectified"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_nothing(slfn_form, pooling):
    model = prepared(small(slfn_form=slfn_form, pooling=pooling, ngram_buckets=256))
    ids = torch.randint(0, 90, (1, 7))
    padded = torch.cat([ids, torch.zeros(1, 5, dtype=torch.long)], 1)
    mask = torch.arange(12).unsqueeze(0) < 7
    assert torch.allclose(model(ids, mask[:, :7]), model(padded, mask), atol=1e-5)


def test_open_slfn_has_the_papers_parameter_count():
    d, f = 64, 128
    slfn = SLFN(small(slfn_form="open"))
    weights = sum(layer.weight.numel() + layer.bias.numel() for layer in (slfn.hidden, slfn.gate, slfn.content))
    assert weights == 2 * (2 * d * f + f + d)


@pytest.mark.parametrize("exit", [0, 1, 2])
def test_soft_routing_reaches_every_block_before_an_exit(exit):
    model = prepared(small())
    ids = torch.randint(0, 90, (4, 9))
    weights = torch.zeros(3)
    weights[exit] = 1.0
    soft_routing_loss(model(ids, torch.ones_like(ids, dtype=torch.bool)), torch.eye(3)[[0, 1, 2, 0]], weights).backward()
    assert model.embeddings.token.grad.abs().sum() > 0
    for i, block in enumerate(model.blocks):
        gradient = block.slfn.content.weight.grad
        assert (gradient is not None and gradient.abs().sum() > 0) == (i < exit)


def test_config_refuses_what_the_pack_cannot_hold():
    with pytest.raises(ValueError, match="multiple of 64"):
        small(hidden_size=100).check()
    with pytest.raises(ValueError, match="multiple of 16"):
        small(heads=8).check()


@pytest.mark.parametrize(
    "slfn_form,bits,pooling,inputs,task",
    [
        ("open", 4, "mean", 1, "single"),
        ("bounded", 1, "mean", 2, "single"),
        ("open", 1, "mean", 1, "multi"),
        ("rectified", 2, "mean", 1, "single"),
        ("rectified", 4, "mean", 1, "multi"),
    ],
)
def test_export_equals_training(slfn_form, bits, pooling, inputs, task):
    vocabulary = train_vocabulary(TEXTS * 2, 90)
    encoder = Encoder(vocabulary)
    config = small(
        vocabulary_size=len(vocabulary), slfn_form=slfn_form, activation_bits=bits, embedding_bits=bits, pooling=pooling, inputs=inputs,
        task=task, ngram_buckets=256, text_ngrams=slfn_form == "rectified",
    )  # fmt: skip
    model = prepared(config, seed=5)
    rule, temperatures = ExitRule("fractional", 0.05, 0.1, 0.9), [1.3, 1.0, 0.8]
    thresholds = [0.4, 0.5, 0.6] if task == "multi" else None
    pack = PackFile(export(model, encoder, ["a", "b", "c"], {"name": "test"}, temperatures, rule, thresholds))
    simulator = Simulator(pack)
    texts = [text for text in TEXTS if text]
    inputs_ = Inputs.encode(encoder, texts, texts[::-1] if inputs == 2 else None, config.max_tokens)
    stop = lambda z: Exits(z[:, None], temperatures, np.zeros((1, 3)), thresholds).route(rule).exit[0]
    linear, close = linear_logits(model, inputs_), 0
    for i in range(len(inputs_)):
        with torch.no_grad():
            trained = model(*inputs_.tensors([i], inputs == 2, torch.device("cpu")), linear[[i]])[:, 0].numpy()
        whole = simulator.whole(inputs_.texts()[inputs_.row[i]][1:-1])
        exact = np.stack([z for z, _, _ in simulator.exits(inputs_.ids[i], inputs_.segments[i] or None, text=whole)])
        close += np.abs(exact - trained).max() < 1e-3
        assert stop(exact) == stop(trained)
    # A value that lies on a quantizer's edge may round the other way in another order of summation; it is rare.
    assert close >= len(inputs_) - 1


def test_float_twin_is_not_exported():
    vocabulary = train_vocabulary(TEXTS * 2, 90)
    with pytest.raises(ValueError, match="float twin"):
        export(Classifier(small(vocabulary_size=len(vocabulary)).float_twin()), Encoder(vocabulary), ["a", "b", "c"], {})


@pytest.mark.parametrize("name", ["tiny_open", "tiny_bounded"])
def test_committed_golden_vectors_are_those_of_the_simulation(name, tmp_path):
    folder = ROOT / "model_pack" / "golden"
    write_golden((folder / f"{name}.beex").read_bytes(), TEXTS, tmp_path / "again.golden")
    assert (tmp_path / "again.golden").read_bytes() == (folder / f"{name}.golden").read_bytes()


def test_reader_refuses_damaged_packs():
    data = tiny_pack("open", 4, "mean", 1, seed=1)
    with pytest.raises(PackError, match="truncated"):
        PackFile(data[:-1])
    with pytest.raises(PackError, match="checksum"):
        PackFile(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PackError, match="not a .beex pack"):
        PackFile(b"<!doctype html>")


def test_dropout_drops_a_share_and_keeps_the_mean():
    torch.manual_seed(1)
    dropout, x = Dropout(0.1), torch.ones(500, 40, 64, requires_grad=True)
    y = dropout(x)
    y.sum().backward()
    assert (y == 0).float().mean().item() == pytest.approx(26 / 256, abs=1e-3) and y.mean().item() == pytest.approx(1.0, abs=1e-3)
    assert y.unique().tolist() == pytest.approx([0, 256 / 230]) and torch.equal(x.grad, y)
    assert abs(np.corrcoef(y[:, 0, 0].detach(), y[:, 0, 1].detach())[0, 1]) < 0.15  # bytes of one number are independent
    assert torch.equal(dropout.eval()(x), x) and torch.equal(Dropout(0.0)(x), x)
