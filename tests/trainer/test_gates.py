"""Skip gates, cross-layer contrast and the two stages of their training; forms for comparison."""

import json

import numpy as np
import pytest
import torch

from beex_train.binary import BinaryLinear, second_order_sign, tanh_sign
from beex_train.cli import main
from beex_train.contrast import Contrast, exit_contrast, info_nce
from beex_train.linear import linear_logits
from beex_train.model import SLFN, soft_routing_loss
from beex_train.pack import PackFile
from beex_train.passes import all_logits, run
from beex_train.train import Plan, Rows, budget_loss, train_heads
from test_elimination import encoded
from test_fit import SMALL
from test_model import small


def gated(**changes):
    """A network whose gates disagree, with a batch of two texts."""
    model, _, inputs = encoded(skip_width=6, **changes)
    with torch.no_grad():
        for gate in model.gates:
            gate.output.weight.mul_(20)
            gate.output.bias.fill_(0.0)
    return model, inputs, inputs.tensors([0, 4], False, torch.device("cpu"))


def test_hard_gates_are_0_or_1_and_have_the_sigmoids_gradient():
    model, _, (ids, mask, _) = gated()
    states, gates = model.walk(ids, mask, skip=0.5)
    assert set(torch.cat(gates).tolist()) <= {0.0, 1.0}
    soft = model.gates[0](model.pool(states[0], mask))
    weight = model.gates[0].output.weight
    hard = torch.autograd.grad(gates[0].sum(), weight, retain_graph=True)[0]
    assert hard.abs().sum() > 0 and torch.equal(hard, torch.autograd.grad(soft.sum(), weight)[0])


def test_training_and_inference_agree_under_the_same_gates():
    model, inputs, (ids, mask, _) = gated()
    logits, costs = run(model, inputs, skip=0.5)
    model.train()  # without dropout
    states, gates = model.walk(ids, mask, skip=0.5)
    trained = model.read_exits(states, mask, None, linear_logits(model, inputs)[[0, 4]])
    assert np.abs(trained.detach().numpy() - logits[:, [0, 4]]).max() < 1e-5
    assert np.array_equal(torch.stack(gates).detach().numpy() == 0, costs.read[1:, [0, 4]])


def test_soft_gates_mix_block_and_state():
    model, _, (ids, mask, _) = gated()
    states, gates = model.walk(ids, mask, skip=2.0)
    dense = model.states(ids, mask)
    share = gates[0][:, None, None]
    assert ((gates[0] > 0) & (gates[0] < 1)).all()
    assert torch.allclose(states[1], (1 - share) * dense[1] + share * dense[0], atol=1e-6)


def test_budget_pulls_the_share_of_blocks_to_its_aim():
    model, _, inputs = encoded(skip_width=6)
    ids, mask, _ = inputs.tensors([0, 4], False, torch.device("cpu"))
    optimizer = torch.optim.Adam(model.gates.parameters(), 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = budget_loss(model.walk(ids, mask, skip=2.0)[1], 0.3)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3
    assert budget_loss([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])], 0.5).item() == pytest.approx(0.0625)


def test_contrast_knows_the_own_item_and_leaves_padding_out():
    a, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert info_nce(a, a, mask) < info_nce(a, a.flip(1), mask)
    b = a.clone()
    b[1, 3:] = 100.0
    assert torch.equal(info_nce(b, b, mask), info_nce(a, a, mask))
    logits = torch.randn(3, 6, 4)
    assert exit_contrast(logits[:1].expand(3, -1, -1)) < exit_contrast(logits)


def test_contrast_falls_in_training():
    torch.manual_seed(2)
    model, _, (ids, mask, _) = gated()
    contrast = Contrast(64)
    optimizer = torch.optim.Adam([*contrast.parameters(), *model.parameters()], 1e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(contrast(model.states(ids, mask), mask))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("contrast", [0.0, 0.05])
def test_second_stage_trains_the_exits_alone(contrast):
    model, inputs, _ = gated()
    rows = Rows(inputs, np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]])
    target = torch.from_numpy(rows.targets)
    loss = lambda: soft_routing_loss(torch.from_numpy(all_logits(model, inputs, 0.5)), target).item()
    before, start = {name: value.clone() for name, value in model.state_dict().items()}, loss()
    train_heads(model, Plan(1.0, 64, 0.01, 0.0, 1, skip_budget=0.5, contrast=contrast, head_rounds=20.5), rows)
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"exits"} and loss() < 0.9 * start


def test_exits_of_skipped_blocks_have_no_part_in_the_loss():
    logits = torch.randn(2, 2, 3)
    target = torch.eye(3)[[0, 1]]
    ran = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    changed = logits.clone()
    changed[1, 1] = 9.0
    assert torch.equal(soft_routing_loss(logits, target, ran), soft_routing_loss(changed, target, ran))


def test_plain_form_has_as_many_weights_as_the_bounded_one():
    count = lambda form: sum(layer.weight.numel() for layer in SLFN(small(slfn_form=form)).modules() if isinstance(layer, BinaryLinear))
    assert count("plain") == count("bounded")


def test_surrogates_and_magnitude_for_comparison():
    x = torch.tensor([-0.9, 0.0, 0.4], requires_grad=True)
    for surrogate, expected in ((second_order_sign, 2 - 2 * x.abs()), (tanh_sign, 2 / (2 * x).cosh() ** 2)):
        assert torch.allclose(torch.autograd.grad(surrogate(x).sum(), x)[0], expected)
    layer = BinaryLinear(8, 3, 4)
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([0.1, 1.0, 10.0]))
    inputs = torch.randn(5, 8)
    gradients = []
    for layer.magnitude_aware in (True, False):
        gradients.append(torch.autograd.grad(layer(inputs).sum(), layer.weight)[0].abs().sum(1))
    assert gradients[0][2] > 30 * gradients[0][0] and gradients[1][2] < 5 * gradients[1][0]


def test_fit_with_gates_and_both_stages(train_file, dev_file, tmp_path):
    out, report = tmp_path / "x.beex", tmp_path / "x.json"
    options = [*SMALL, "--skip-budget", "0.6", "--contrast", "0.05", "--head-rounds", "1", "--no-drop-blocks", "--rounds", "9"]
    assert main(["fit", str(train_file), "--dev", str(dev_file), "--out", str(out), "--report", str(report), *options]) == 0
    pack, made = PackFile.open(out), json.loads(report.read_text())
    assert pack.config["skip_width"] == 16 and "block1.skip.output_bias" in pack.sections
    assert made["dev"]["accuracy_by_exit"][-1] > 0.85
    assert not any("contrast" in name for name in pack.sections)


def test_forms_for_comparison_are_reported_but_not_packed(train_file, dev_file, tmp_path):
    out, report = tmp_path / "x.beex", tmp_path / "x.json"
    options = [*SMALL, "--slfn-form", "plain", "--surrogate", "tanh", "--no-magnitude-aware", "--last-exit-only", "--rounds", "6"]
    assert main(["fit", str(train_file), "--dev", str(dev_file), "--out", str(out), "--report", str(report), *options]) == 0
    assert json.loads(report.read_text())["dev"]["accuracy_by_exit"][-1] > 0.7 and not out.exists()
