"""The DCGAN discriminator, which also yields the features that the anomaly score compares."""

from torch import Tensor, nn

from gannext.networks.gannext import initialise

SMALLEST_SIDE = 8


class Discriminator(nn.Module):
    """Judges images and describes them: (N, C, H, W) -> logits (N,) and features (N, nz).

        conv 4x4 /2, LeakyReLU -> [conv 4x4 /2, batch norm, LeakyReLU] until the side is 4
          -> conv 4x4 -> features -> conv 3x3 -> logit

    The logit's sigmoid is the probability that the image is real; the sigmoid itself is left to
    the loss, where it is computed without overflow.

    Args:
        size: image height and width H, W.
        channels: image channels C.
        ndf: width of the first layer; it doubles with every further one.
        nz: number of features.

    A side that never reaches 4 (48 -> 24 -> 12 -> 6) stops at the last map whose shorter side is
    at least 4, and the feature convolution takes all of that map.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, ndf: int = 64, nz: int = 100) -> None:
        super().__init__()
        height, width = size
        if min(size) < SMALLEST_SIDE:
            raise ValueError(f"a side of {min(size)} pixels is too small: the shortest is {SMALLEST_SIDE}")
        layers: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        height, width = height // 2, width // 2
        while min(height, width) >= 8:
            layers += [nn.Conv2d(ndf, 2 * ndf, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * ndf), nn.LeakyReLU(0.2)]
            height, width, ndf = height // 2, width // 2, 2 * ndf
        self.body = nn.Sequential(*layers)
        self.to_features = nn.Conv2d(ndf, nz, (height, width), bias=False)
        self.to_logit = nn.Conv2d(nz, 1, 3, padding=1, bias=False)
        self.apply(initialise)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.to_features(self.body(x))  # (N, nz, 1, 1)
        return self.to_logit(features).flatten(), features.flatten(1)
