"""What the machine multiplies fastest, and other processes that train the same network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, distributed, nn


def matrix_precision(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 where the CPU multiplies it faster than float32, else no change."""
    fast = device.type == "cpu" and any(flag in cpu_flags() for flag in ("avx512_bf16", "amx_bf16"))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)


def cpu_flags() -> frozenset[str]:
    """What Linux says the CPU can do; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(flag for line in lines if line.startswith("flags") for flag in line.split(":", 1)[1].split())


def join_processes(device: torch.device) -> None:
    """Join the other processes when `torchrun` started this one; else do nothing."""
    if distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def rank_and_world() -> tuple[int, int]:
    """Which process this is, and how many there are; (0, 1) for one alone."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def add_up_gradients(model: nn.Module) -> None:
    """Sum every gradient over the processes; each has divided its loss by the rows of all of them."""
    if rank_and_world()[1] == 1:
        return
    gradients: list[Tensor] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            # A part without rows has no gradient, but must take part in the sum.
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
