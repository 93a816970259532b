"""Telling images apart: the loss that gives every image a place of its own among all others."""

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.2
NEVER = -1e9


def contrastive_loss(z: Tensor, identities: Tensor, others: Tensor) -> Tensor:
    """NT-Xent (SimCLR, ICML 2020): what shows the same attracts, and everything else repels.

    Args:
        z: projections (N, P).
        identities: (N,), equal where two show the same; each occurs at least twice.
        others: projections (M, P) of what only repels.

    Returns:
        The mean over the N of -log softmax(cosine / 0.2) at those with the same identity; a scalar.
    """
    z, others = F.normalize(z, dim=1), F.normalize(others, dim=1)
    among = ((z @ z.T).float() / TEMPERATURE).fill_diagonal_(NEVER)  # (N, N); float16 has no such number
    same = (identities[:, None] == identities[None]).float().fill_diagonal_(0.0)
    all_of_them = torch.cat((among, (z @ others.T).float() / TEMPERATURE), 1).logsumexp(1, keepdim=True)
    return -((among - all_of_them) * same).sum(1).div(same.sum(1)).mean()
