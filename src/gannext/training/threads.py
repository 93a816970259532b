"""Work that is done side by side, each piece in threads of its own.

Torch divides every operation among its threads. The operations of a small network are too short for that: of two threads, each
is waited for a third of the time. Networks that do not need one another take as long together as the longest of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")
MOST = 8  # at once
POOL = ThreadPoolExecutor(MOST, "gannext")  # threads that stay, as torch prepares each anew
_dealt = 0  # how many threads `at_once` deals out while torch has one; 0 for torch's own


def side_by_side(networks: Iterable[nn.Module], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What each network makes of its own input, from which no gradient is asked for; both passes run side by side."""
    parameters = [list(network.parameters()) for network in networks]
    outputs: tuple[Tensor, ...] = SideBySide.apply(networks, inputs, parameters, *(p for part in parameters for p in part))
    return outputs


class SideBySide(torch.autograd.Function):
    """The passes of networks that share nothing, as one operation of all their parameters."""

    @staticmethod
    def forward(ctx: Any, networks: Any, inputs: Any, parameters: Any, *_: Tensor) -> tuple[Tensor, ...]:
        def forward(network: nn.Module, x: Tensor) -> Tensor:
            with torch.enable_grad():
                y: Tensor = network(x)
            return y

        ctx.parameters, ctx.outputs = parameters, at_once(forward, networks, inputs)
        return tuple(output.detach() for output in ctx.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        parts = at_once(torch.autograd.grad, ctx.outputs, ctx.parameters, gradients)
        return None, None, None, *(gradient for part in parts for gradient in part)


def at_once(function: Callable[..., Result], *arguments: Iterable[Any]) -> list[Result]:
    """`list(map(function, *arguments))`, all calls at once, among which torch's threads are dealt out; where there are fewer
    threads than calls, one after the other."""
    calls, own = list(zip(*arguments, strict=True)), torch.get_num_threads()
    each = (_dealt or own) // len(calls)
    automatic, low = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    if not each:
        return [function(*call) for call in calls]

    def call(call_arguments: Sequence[Any]) -> Result:
        torch.set_num_threads(each)  # of this thread; what it sets for all is mended below
        with torch.autocast("cpu", low, automatic):  # which a thread does not inherit
            return function(*call_arguments)

    try:
        return list(POOL.map(call, calls))
    finally:
        torch.set_num_threads(own)


@contextmanager
def threads_for_pieces() -> Iterator[None]:
    """Within it what is not done by `at_once` has one thread.

    After an operation that they shared, threads wait for the next by turning, for milliseconds, and take the processors from
    what is then done at once.
    """
    global _dealt
    own = _dealt or torch.get_num_threads()  # the former where another training goes on in this process
    _dealt = own
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(own)
        _dealt = 0
