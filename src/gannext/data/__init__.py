"""Images and labels from torchvision data sets, folders and arrays; the leave-one-out split; the batches."""

from gannext.data.batches import EpochSampler, make_loader
from gannext.data.datasets import DATASETS
from gannext.data.images import Cache, FileImages, Images, MemoryImages, from_pixels, read_files
from gannext.data.masks import read_mask
from gannext.data.split import (
    DataConfig,
    Split,
    find_class,
    image_folders,
    load_split,
    name_of,
    normal_files,
    split_normal,
    unknown_dataset,
)
from gannext.data.tiles import TileImages

__all__ = [
    "DATASETS",
    "Cache",
    "DataConfig",
    "EpochSampler",
    "FileImages",
    "Images",
    "MemoryImages",
    "Split",
    "TileImages",
    "find_class",
    "from_pixels",
    "image_folders",
    "load_split",
    "make_loader",
    "name_of",
    "normal_files",
    "read_files",
    "read_mask",
    "split_normal",
    "unknown_dataset",
]
