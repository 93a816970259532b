"""The networks' sizes, to the last digit, and the image sizes they take."""

from functools import partial

import pytest
import torch

from gannext.networks import (
    Discriminator,
    EncoderDecoder,
    EncoderDiscriminator,
    GanNeXt,
    NetworkConfig,
    SwinUNet,
    UNet,
    create_generator,
    measure_cost,
    reconstruct,
)
from gannext.networks.swin_unet import SwinBlock


@pytest.mark.parametrize(
    ("dim", "channels", "parameters", "macs"),
    [
        (16, 3, 1_187_891, (17_454_080, 69_816_320, 279_265_280)),
        (40, 3, 7_216_763, (104_215_040, 416_860_160, 1_667_440_640)),
        (64, 3, 18_342_083, (263_671_808, 1_054_687_232, 4_218_748_928)),
        (40, 1, 7_216_281, ()),
    ],
)
def test_generator_has_the_published_size(dim: int, channels: int, parameters: int, macs: tuple[int, ...]) -> None:
    for side, expected in zip((32, 64, 128), macs or (None,), strict=False):
        cost = measure_cost(partial(GanNeXt, channels, dim), channels, (side, side))
        assert cost.parameters == parameters
        assert expected is None or cost.macs == expected


@pytest.mark.parametrize(
    ("side", "parameters", "macs"),
    [(32, 1_069_700, 17_974_148), (64, 3_577_476, 104_629_124), (128, 12_787_332, 551_093_124)],
)
def test_discriminator_has_the_published_size(side: int, parameters: int, macs: int) -> None:
    cost = measure_cost(partial(Discriminator, (side, side)), 3, (side, side))
    assert (cost.parameters, cost.macs) == (parameters, macs)


def test_the_transformer_s_cost_is_undercut_by_58_percent() -> None:
    ours, peer = measure_cost(GanNeXt, 3, (32, 32)), measure_cost(partial(SwinUNet, (32, 32)), 3, (32, 32))
    assert round(100 * (1 - ours.macs / peer.macs), 1) == 58.2


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (UNet, ((16_659_075, 86_245_376), (29_244_035, 370_147_328), (41_828_995, 1_505_755_136))),
        (SwinUNet, ((12_536_116, 249_111_552), (12_585_268, 996_446_208), (12_781_876, 3_985_784_832))),
        (EncoderDecoder, ((3_206_528, 53_919_744), (10_729_856, 313_884_672), (38_359_424, 1_653_276_672))),
        (EncoderDiscriminator, ((663_296, 17_567_744), (2_765_568, 103_817_216), (11_164_416, 549_470_208))),
    ],
)
def test_the_peers_have_their_sizes(build: type[torch.nn.Module], expected: tuple[tuple[int, int], ...]) -> None:
    for side, (parameters, macs) in zip((32, 64, 128), expected, strict=True):
        cost = measure_cost(partial(build, (side, side)), 3, (side, side))
        assert (cost.parameters, cost.macs) == (parameters, macs)


def test_shifted_windows_do_not_reach_around_the_border() -> None:
    """A block with shifted windows lets a pixel see its neighbours, and never the opposite border."""
    torch.manual_seed(0)
    block = SwinBlock(8, shifted=True).eval()
    x = torch.rand(1, 6, 6, 8)
    changed = x.clone()
    changed[0, 0, 0] += torch.rand(8)
    moved = (block(changed) - block(x)).abs().amax(-1)[0] > 1e-7
    assert moved[0, 0] and not moved[1:].any() and not moved[:, 1:].any()
    changed = x.clone()
    changed[0, 1, 1] += torch.rand(8)
    moved = (block(changed) - block(x)).abs().amax(-1)[0] > 1e-7
    assert moved[1:3, 1:3].all() and int(moved.sum()) == 4


@pytest.mark.parametrize("model", ["gannext", "skipganomaly", "ganomaly", "anotrans"])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (48, 48), (32, 200), (100, 64)])
def test_any_side_works_and_is_cropped_back(model: str, size: tuple[int, int]) -> None:
    config = NetworkConfig(model, size, generator={"dim": 4}, ndf=4, nz=7)
    image = torch.rand(2, 3, *size)
    assert reconstruct(config.build_generator(), image).shape == image.shape
    logit, features = config.build_discriminator()(image)
    assert logit.shape == (2,) and len(features) == 2


def test_the_largest_side_can_be_built() -> None:
    with torch.device("meta"):
        config = NetworkConfig(size=(1024, 1024))
        image = torch.empty(1, 3, 1024, 1024)
        assert config.build_generator()(image).shape == image.shape
        assert config.build_discriminator()(image)[1].shape == (1, 100)


@pytest.mark.parametrize("options", [{"norm": "ln"}, {"kernel": 7}, {"patch": 4}, {"depths": (1, 1)}, {"bottom": 1}])
def test_options_change_the_network_and_it_still_reconstructs(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    plain, changed = GanNeXt(dim=4), create_generator("gannext", (64, 64), dim=4, **options)
    assert sum(p.numel() for p in changed.parameters()) != sum(p.numel() for p in plain.parameters()) or "norm" in options
    assert not options.get("norm") or not any(isinstance(m, torch.nn.BatchNorm2d) for m in changed.modules())
    image = torch.rand(1, 3, 64, 64)
    assert changed(image).shape == image.shape


def test_padding_leaves_the_inside_as_it_is_for_a_multiple() -> None:
    """An image that needs no padding is not touched; one that does sees its border repeated."""
    torch.manual_seed(0)
    network = GanNeXt(dim=4).eval()
    image = torch.rand(1, 3, 40, 40)
    padded = torch.nn.functional.pad(image, (0, 8, 0, 8), mode="replicate")
    assert torch.equal(network(image), network(padded)[..., :40, :40])


def test_initialisation_is_dcgan_s() -> None:
    torch.manual_seed(0)
    network = GanNeXt()
    weights = torch.cat([m.weight.detach().flatten() for m in network.modules() if isinstance(m, torch.nn.Conv2d)])
    assert abs(float(weights.mean())) < 1e-3 and abs(float(weights.std()) - 0.02) < 1e-3
    scales = torch.cat([p.flatten() for n, p in network.named_parameters() if n.endswith(".scale")])
    assert torch.all(scales == 1e-6)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="gannext"):
        create_generator("resnet", (32, 32))
    with pytest.raises(ValueError, match="norm"):
        GanNeXt(norm="gn")
    with pytest.raises(ValueError, match="odd"):
        GanNeXt(kernel=4)
