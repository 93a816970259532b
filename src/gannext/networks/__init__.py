"""The networks, as plain torch modules, and the registry that finds a generator by its name."""

from gannext.networks.config import Levels, NetworkConfig
from gannext.networks.describer import PROJECTED, Describer, turned
from gannext.networks.discriminator import Discriminator
from gannext.networks.encoder_decoder import Encoded, EncoderDecoder, EncoderDiscriminator, reconstruct
from gannext.networks.energy import energies, gaussian_blur, layout
from gannext.networks.gannext import NORMS, Block, Depthwise, Downsample, GanNeXt, Upsample
from gannext.networks.judge import Judge
from gannext.networks.profile import Cost, measure_cost
from gannext.networks.registry import MODELS, Model, create_generator
from gannext.networks.swin_unet import SwinUNet
from gannext.networks.unet import UNet

__all__ = [
    "MODELS",
    "NORMS",
    "PROJECTED",
    "Block",
    "Cost",
    "Depthwise",
    "Describer",
    "Discriminator",
    "Downsample",
    "Encoded",
    "EncoderDecoder",
    "EncoderDiscriminator",
    "GanNeXt",
    "Judge",
    "Levels",
    "Model",
    "NetworkConfig",
    "SwinUNet",
    "UNet",
    "Upsample",
    "create_generator",
    "energies",
    "gaussian_blur",
    "layout",
    "measure_cost",
    "reconstruct",
    "turned",
]
