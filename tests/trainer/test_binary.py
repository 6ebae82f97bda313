"""Gradients against their closed forms, and the levels that the pack stores."""

import numpy as np
import pytest
import torch

from beex_train.binary import BinaryLinear, Quantizer, few_bit_columns, few_bit_indices, few_bit_rows, few_bit_scale, second_order_sign, sign
from beex_train.pack import pack_bits, pack_few_bits, unpack_bits, unpack_few_bits

POINTS = [-2.0, -1.0, -0.75, -0.25, 0.0, 0.25, 0.75, 1.0, 2.0]


def test_sign_of_zero_is_plus_one():
    assert sign(torch.tensor([0.0, -0.0])).tolist() == [1.0, 1.0]


def test_second_order_surrogate_gradient():
    x = torch.tensor(POINTS, requires_grad=True)
    y = second_order_sign(x)
    y.sum().backward()
    assert y.tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1]
    expected = [max(0.0, 2 - 2 * abs(p)) for p in POINTS]
    assert x.grad.tolist() == pytest.approx(expected)


def test_surrogate_gradient_integrates_to_two():
    x = torch.linspace(-1, 1, 20_001, dtype=torch.float64, requires_grad=True)
    second_order_sign(x).sum().backward()
    assert torch.trapezoid(x.grad, x.detach()).item() == pytest.approx(2.0, abs=1e-6)


def test_weight_gradient_is_magnitude_aware():
    layer = BinaryLinear(4, 1, bits=32)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, 0.9, -0.1, -0.9]]))
        layer.scale.fill_(0.5)
    layer(torch.ones(1, 4)).sum().backward()
    # dL/dW = scale * dL/dWb * (2 - 2|W|): equal signs, different sizes, different gradients.
    assert layer.weight.grad.flatten().tolist() == pytest.approx([0.9, 0.1, 0.9, 0.1])


def test_latent_weights_stay_in_range():
    layer = BinaryLinear(8, 8, bits=1)
    with torch.no_grad():
        layer.weight.mul_(10)
    layer.clamp_latent()
    assert layer.weight.abs().max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_signed_quantizer_levels_and_gradients(bits):
    quantizer = Quantizer(bits, 1)
    with torch.no_grad():
        quantizer.step.fill_(0.5)
        quantizer.threshold.fill_(0.1)
    half = 2 ** (bits - 1)
    x = (torch.linspace(-half, half, 41) * 0.79).unsqueeze(1).requires_grad_()
    u, factor = quantizer(x)
    y = u * factor
    v = (x.detach() - 0.1) / 0.5
    q = (torch.floor(v) + half).clamp(0, 2 * half - 1)
    assert torch.allclose(y, 0.25 * (2 * q - (2 * half - 1)))
    y.sum().backward()
    inside = (v.abs() <= half).float()
    assert torch.equal(x.grad, inside)
    assert quantizer.threshold.grad.item() == pytest.approx(-inside.sum().item())
    # LSQ: level minus position inside the range, the outermost level outside it.
    level = (torch.floor(v) + 0.5).clamp(0.5 - half, half - 0.5)
    assert quantizer.step.grad.item() == pytest.approx((level - v * inside).sum().item(), rel=1e-4, abs=1e-4)


def test_one_bit_quantizer_is_the_sign():
    quantizer = Quantizer(1, 3)
    with torch.no_grad():
        quantizer.step.fill_(2.0)
    u, factor = quantizer(torch.tensor([[-0.3, 0.0, 5.0]]))
    assert (u * factor).tolist() == [[-1.0, 1.0, 1.0]]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_unsigned_quantizer_rectifies_and_covers_zero_to_one(bits):
    quantizer, x = Quantizer(bits, None, signed=False), torch.linspace(-1, 1, 201)
    quantizer.initialise(x)
    q, step = quantizer(x)
    assert (q[x <= 0] == 0).all()
    assert sorted(set(np.round((q * step).tolist(), 5))) == pytest.approx([i / (2**bits - 1) for i in range(2**bits)], abs=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_few_bit_columns_have_a_zero_and_follow_the_rows(bits):
    torch.manual_seed(3)
    rows = torch.randn(500, 3) * torch.tensor([0.1, 1.0, 5.0])
    rows[::2] = 0
    stored = few_bit_columns(rows, bits)
    assert (stored[::2] == 0).all()
    error = (stored - rows).pow(2).mean(0) / rows.pow(2).mean(0)
    assert (error < {2: 0.7, 4: 0.05, 8: 0.001}[bits]).all()


def test_layer_starts_as_the_float_layer_it_is_given():
    torch.manual_seed(3)
    given = torch.nn.Linear(256, 64)
    x = torch.randn(200, 256)
    layer = BinaryLinear(256, 64, 4)
    layer.start_from(given.weight, given.bias)
    layer.quantize.initialise(x)
    wanted, found = given(x), layer(x)
    # One bit keeps 2/pi of the variance of uniform or normal weights.
    assert torch.corrcoef(torch.stack([wanted.flatten(), found.flatten()]))[0, 1] > 0.75
    twin = BinaryLinear(256, 64, 32, binary=False)
    twin.start_from(given.weight, given.bias)
    assert torch.allclose(twin(x), wanted, atol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bit_rows_round_trip(bits):
    torch.manual_seed(3)
    rows = torch.randn(5, 64)
    scale = few_bit_scale(rows, bits)
    q = few_bit_indices(rows, scale, bits).numpy().astype(np.int64)
    packed = pack_few_bits(q, bits)
    assert packed.shape == (5, 64 * bits // 8)
    assert np.array_equal(unpack_few_bits(packed, 5, 64, bits), q)
    stored = scale.numpy() * (2 * q - (2**bits - 1))
    assert np.allclose(few_bit_rows(rows, bits).numpy(), stored, atol=1e-6)


def test_bits_are_least_significant_first():
    signs = np.zeros((1, 64), bool)
    signs[0, [0, 9]] = True
    packed = pack_bits(signs)
    assert packed[0, :2].tolist() == [1, 2]
    assert np.array_equal(unpack_bits(packed, 1, 64) > 0, signs)
