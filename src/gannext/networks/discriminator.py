"""The DCGAN discriminator, which also yields the features that the anomaly score compares."""

from torch import Tensor, nn

from gannext.networks.gannext import initialise

SMALLEST_SIDE = 8


class Halvings(nn.Sequential):
    """DCGAN's body: halves the map until its shorter side is 4, and doubles the width each time but the first.

        conv 4x4 /2, LeakyReLU -> [conv 4x4 /2, batch norm, LeakyReLU] until the side is 4

    A side that never reaches 4 (48 -> 24 -> 12 -> 6) stops at the last map whose shorter side is at least 4.

    Attributes:
        width, size: channels, and height and width, of the last map.
        count: number of halvings.
    """

    def __init__(self, size: tuple[int, int], channels: int, width: int) -> None:
        if min(size) < SMALLEST_SIDE:
            raise ValueError(f"a side of {min(size)} pixels is too small: the shortest is {SMALLEST_SIDE}")
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        height, width_of_map, count = size[0] // 2, size[1] // 2, 1
        while min(height, width_of_map) >= 8:
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
            height, width_of_map, width, count = height // 2, width_of_map // 2, 2 * width, count + 1
        super().__init__(*layers)
        self.width, self.size, self.count = width, (height, width_of_map), count


class Discriminator(nn.Module):
    """Judges images and describes them: (N, C, H, W) -> logits (N,) and features (N, nz).

        Halvings -> conv 4x4 -> features -> conv 3x3 -> logit

    The logit's sigmoid is the probability that the image is real; the sigmoid itself is left to
    the loss, where it is computed without overflow.

    Args:
        size: image height and width H, W.
        channels: image channels C.
        ndf: width of the first layer; it doubles with every further one.
        nz: number of features.

    The feature convolution takes all of the body's last map, which is 4x4 where the sides are powers of two.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, ndf: int = 64, nz: int = 100) -> None:
        super().__init__()
        self.body = Halvings(size, channels, ndf)
        self.to_features = nn.Conv2d(self.body.width, nz, self.body.size, bias=False)
        self.to_logit = nn.Conv2d(nz, 1, 3, padding=1, bias=False)
        self.apply(initialise)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.to_features(self.body(x))  # (N, nz, 1, 1)
        return self.to_logit(features).flatten(), features.flatten(1)
