"""Devices by name, checked before anything is computed on them."""

import timeit

import torch

from gannext.runtime import InputError, unknown


def find_device(name: str | torch.device) -> torch.device:
    """The torch device called "auto", "cpu", "gpu", "cuda", "cuda:1" or "mps"; auto takes a CUDA GPU where there is one.

    Raises:
        InputError: this machine has no such device.
    """
    kind, _, index = str(name).partition(":")
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind in ("gpu", "cuda"):
        if not torch.cuda.is_available():
            raise InputError("this machine has no CUDA GPU that torch can use: pass --device cpu, or leave it out")
        if index and not (index.isdecimal() and int(index) < torch.cuda.device_count()):
            raise InputError(f"GPU {index} is not there: this machine has {torch.cuda.device_count()}, counted from 0")
        return torch.device(f"cuda:{index}" if index else "cuda")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("this machine has no Apple GPU that torch can use: pass --device cpu, or leave it out")
    if kind not in ("cpu", "mps") or index:
        raise unknown("device", str(name), ("auto", "cpu", "gpu", "cuda", "mps"))
    return torch.device(name)


def slow_in_bf16(side: int = 384) -> bool:
    """Whether the processor takes much longer over bfloat16 than over 32 bits: without instructions for it, some ten times.

    No flag says so on every kind of processor; the product of two matrices of that side does, in milliseconds: the quickest of
    a few, as any one of them may have been interrupted.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(side, side, dtype=dtype)
        seconds[dtype] = min(timeit.repeat("a @ a", globals={"a": a}, number=1, repeat=6))
    return seconds[torch.bfloat16] > 2 * seconds[torch.float32]
