"""Data sets in their own file formats, folders in every layout, and the split."""

import gzip
import hashlib
import pickle
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Command, write_pictures
from gannext.data import DATASETS, DataConfig, EpochSampler, load_split, make_loader
from gannext.data import datasets as datasets_module
from gannext.data.datasets import unpack_debian
from gannext.data.textures import make_textures, photograph
from gannext.runtime import InputError

RNG = np.random.default_rng(0)


def write_idx(folder: Path, train: int = 200, test: int = 60) -> None:
    """MNIST's own format, with ten classes in turn; an image is as bright as its class says."""
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = np.repeat(labels * 20, 28 * 28).reshape(count, 28, 28)
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR10's own archive format, small; torchvision's checksums are replaced by this copy's."""
    import torchvision.datasets

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    sums = {}
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name in names:
        labels = [i % 10 for i in range(40)]
        data = np.stack([np.full(3072, 20 * label, np.uint8) for label in labels])
        content = pickle.dumps({"data": data, "labels": labels})
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": list(DATASETS["cifar10"].classes)})
    (folder / "batches.meta").write_bytes(meta)
    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, "train_list", [[n, sums[n]] for n in names[:5]])
    monkeypatch.setattr(cifar10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar10, "meta", {**cifar10.meta, "md5": hashlib.md5(meta).hexdigest()})


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STL10's own archive, stl10_binary.tar.gz: colours first, columns before rows, labels from 1."""
    import torchvision.datasets

    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    stl10 = torchvision.datasets.STL10
    for split in ("train", "test"):
        labels = (np.arange(150) % 10).astype(np.uint8)
        images = np.repeat(labels * 20, 3 * 96 * 96).reshape(-1, 3, 96, 96)
        images[:, :, 60:, :] = 255  # in the file columns come first: this is the right part
        (folder / f"{split}_X.bin").write_bytes(images.tobytes())
        (folder / f"{split}_y.bin").write_bytes((labels + 1).tobytes())
        lists = [
            [f"{split}_{part}.bin", hashlib.md5((folder / f"{split}_{part}.bin").read_bytes()).hexdigest()] for part in "Xy"
        ]
        monkeypatch.setattr(stl10, f"{split}_list", lists)
    archive = root / "stl10_binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "stl10_binary")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    monkeypatch.setattr(stl10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())


def levels(images: object) -> set[int]:
    """The classes that images show by their brightness."""
    return {round(int(i[0, 0, 0]) / 20) for i in images}  # type: ignore[attr-defined]


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "cifar10", "stl10"])
def test_leave_one_out(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if dataset == "cifar10":
        write_cifar10(tmp_path, monkeypatch)
    elif dataset == "stl10":
        write_stl10(tmp_path, monkeypatch)
    else:
        write_idx(tmp_path / {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[dataset] / "raw")
    name = DATASETS[dataset].classes[3]
    split = load_split(DataConfig(dataset, tmp_path, name))
    assert split.train[0].shape == (3, 32, 32)
    assert levels(split.train) | levels(split.held_out) == set(range(10)) - {3}
    assert levels(split.abnormal_train) == {3}
    assert [kind == name for kind in split.kinds] == split.labels.tolist() == sorted(split.labels.tolist())
    assert levels(split.test.subset(torch.nonzero(split.labels).flatten().tolist())) == {3}
    assert len(split.held_out) == 50 or len(split.held_out) >= 0.1 * (len(split.train) + len(split.held_out))
    if dataset == "stl10":
        assert split.train[0][0, 5, -1] == 255 and split.train[0][0, -1, 5] != 255  # not turned on its side


def test_debian_s_fashion_mnist_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "made")
    (tmp_path / "debian").mkdir()
    for file in (tmp_path / "made").iterdir():
        (tmp_path / "debian" / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    monkeypatch.setattr(datasets_module, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    assert len(load_split(DataConfig("fashion_mnist", tmp_path / "data", "bag")).test) == 60


@pytest.mark.parametrize(("dataset", "file"), [("cifar10", "cifar-10-python.tar.gz"), ("mnist", "images-idx3")])
def test_no_network_names_the_file_to_fetch(
    dataset: str, file: str, tmp_path: Path, gannext: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    outcome = gannext("train", "--dataset", dataset, "--data-root", tmp_path, "--output", tmp_path)
    assert outcome.code == 2 and file in outcome.err and str(tmp_path) in outcome.err and outcome.err.count("\n") == 1


def test_digits_split_is_fixed_and_its_held_out_part_moves_with_the_seed() -> None:
    first, again, other = (load_split(DataConfig("digits", seed=seed)) for seed in (0, 0, 1))
    assert len(first.test) == 599 and len(first.train) + len(first.held_out) + len(first.abnormal_train) == 1198
    assert torch.equal(first.held_out.__getitems__(range(5)), again.held_out.__getitems__(range(5)))
    assert not torch.equal(first.held_out.__getitems__(range(5)), other.held_out.__getitems__(range(5)))
    assert torch.equal(first.test.__getitems__(range(599)), other.test.__getitems__(range(599)))


def test_limits_choose_by_seed() -> None:
    split = load_split(DataConfig("digits", train_images=200, test_images=30))
    assert len(split.train) == 200 and len(split.test) == 60 and int(split.labels.sum()) == 30


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """MVTec AD's layout, with a mask."""
    root = tmp_path / "bottle"
    write_pictures(root / "train" / "good", 30)
    write_pictures(root / "test" / "good", 6, first=100)
    write_pictures(root / "test" / "broken", 4, first=200, spot=True)
    write_pictures(root / "test" / "a_scratch", 3, first=300, spot=True)
    (root / "ground_truth" / "broken").mkdir(parents=True)
    Image.new("L", (32, 32)).save(root / "ground_truth" / "broken" / "000_mask.png")
    return root


def test_mvtec_layout(mvtec: Path) -> None:
    split = load_split(DataConfig("bottle", mvtec))
    assert len(split.train) == 15 and len(split.held_out) == 15
    assert split.kinds == ["normal"] * 6 + ["a_scratch"] * 3 + ["broken"] * 4
    assert split.labels.tolist() == [False] * 6 + [True] * 7


def test_readme_layout_is_told_by_names_not_by_position(parts: Path) -> None:
    split = load_split(DataConfig("parts", parts))
    assert (len(split.train), len(split.held_out), len(split.test)) == (70, 50, 30)
    assert split.kinds[0] == "normal" and split.kinds[-1] == "1.abnormal"


def test_streaming_gives_the_same_images_as_memory(mvtec: Path) -> None:
    memory, stream = (load_split(DataConfig("bottle", mvtec, cache=cache)) for cache in ("memory", "stream"))
    assert stream.train.streams and not memory.train.streams
    batches = [torch.cat(list(make_loader(s.train, 4, workers=workers))) for s, workers in ((memory, 0), (stream, 2))]
    assert torch.equal(*batches)
    assert torch.equal(memory.test.__getitems__(range(13)), stream.test.__getitems__(range(13)))


@pytest.mark.parametrize("cache", ["memory", "stream"])
def test_damaged_files_are_skipped_named_and_counted(cache: str, mvtec: Path) -> None:
    (mvtec / "train" / "good" / "003.png").write_bytes(b"")
    whole = (mvtec / "test" / "good" / "001.png").read_bytes()
    (mvtec / "test" / "good" / "001.png").write_bytes(whole[:200])
    split = load_split(DataConfig("bottle", mvtec, cache=cache))  # type: ignore[arg-type]
    assert len(split.train) + len(split.held_out) == 29 and len(split.test) == 12
    assert len(split.unreadable) == 2 and "003.png" in split.unreadable[0] and "001.png" in split.unreadable[1]
    assert split.kinds.count("normal") == 5 and int(split.labels.sum()) == 7


def test_what_is_hidden_beside_pictures_is_none_of_them(mvtec: Path, detector_file: Path, gannext: Command) -> None:
    """What macOS writes beside files on other systems' disks, and an editor's folders of copies."""
    shown = load_split(DataConfig("bottle", mvtec))
    for folder in ("train", "test", "train/good", "test/good", "ground_truth", "ground_truth/broken"):
        copies = mvtec / folder / ".ipynb_checkpoints"
        copies.mkdir()
        Image.new("L", (32, 32)).save(copies / "000.png")
        (mvtec / folder / "._000.png").write_bytes(b"Mac OS X")
    split = load_split(DataConfig("bottle", mvtec))
    assert len(split.train) == len(shown.train) and not split.unreadable
    assert split.kinds == shown.kinds and split.mask_faults == shown.mask_faults
    judged = gannext("predict", detector_file, mvtec / "test", "--format", "csv")
    assert judged.code == 0 and judged.out.count(".png,") == 13


def test_a_folder_of_pictures_alone_trains_and_says_there_is_nothing_to_test(tmp_path: Path) -> None:
    write_pictures(tmp_path / "good", 12)
    split = load_split(DataConfig("good", tmp_path / "good"))
    assert len(split.train) == 6 and len(split.held_out) == 6
    assert "no test images" in str(split.untestable)


def test_a_missing_class_gives_a_sentence(mvtec: Path) -> None:
    for file in (mvtec / "test" / "good").iterdir():
        file.unlink()
    assert "no normal image" in str(load_split(DataConfig("bottle", mvtec)).untestable)


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_resized_up(channels: int) -> None:
    split = load_split(DataConfig("digits", size=(48, 32), channels=channels))
    assert split.train[0].shape == (channels, 48, 32)


def test_epochs_are_shuffled_by_seed_and_shared_between_processes() -> None:
    alone = EpochSampler(100, seed=3)
    first = list(alone)
    assert sorted(first) == list(range(100)) and first == list(EpochSampler(100, seed=3))
    alone.set_epoch(1)
    assert list(alone) != first
    halves = [list(EpochSampler(100, seed=3, rank=rank, world_size=2)) for rank in (0, 1)]
    assert sorted(halves[0] + halves[1]) == list(range(100))
    later = EpochSampler(100, seed=3)
    later.start = 30
    assert list(later) == first[30:]


def test_errors_name_what_there_is() -> None:
    with pytest.raises(InputError, match=r"did you mean 'sneaker'"):
        load_split(DataConfig("fashion_mnist", abnormal_class="sneakers"))
    with pytest.raises(InputError, match=r"digits, mnist.*did you mean 'cifar10'"):
        load_split(DataConfig("cifar"))


def test_validation_images_calibrate_instead_of_held_out_ones(tmp_path: Path) -> None:
    for kind, count, first in (("train", 20, 0), ("validation", 7, 100), ("test", 3, 200)):
        write_pictures(tmp_path / "parts" / kind / "good", count, first)
    split = load_split(DataConfig("parts", tmp_path / "parts"))
    assert (len(split.train), len(split.held_out), len(split.test)) == (20, 7, 3)
    read = torch.stack([torch.from_numpy(np.array(Image.open(f))) for f in sorted(tmp_path.glob("parts/validation/good/*"))])
    assert torch.equal(split.held_out.__getitems__(range(7)), read.permute(0, 3, 1, 2))
    (tmp_path / "parts" / "validation" / "good" / "000.png").write_bytes(b"broken")
    split = load_split(DataConfig("parts", tmp_path / "parts"))
    assert len(split.held_out) == 6 and any("000.png" in sentence for sentence in split.unreadable)


@pytest.mark.parametrize("validated", [False, True])
def test_no_copy_of_what_trains_calibrates(validated: bool, tmp_path: Path, gannext: Command) -> None:
    """What calibrates must be new to the networks. Two empty files are damaged, and no copies."""
    root = tmp_path / "parts"
    write_pictures(root / "train" / "good", 60)
    write_pictures(root / "test" / "good", 6, first=55)
    write_pictures(root / "test" / "bad", 5, first=100, spot=True)
    for i in range(10):
        shutil.copyfile(root / "train" / "good" / f"{i:03d}.png", root / "train" / "good" / f"{i:03d} copy.png")
    for name in ("empty", "empty too"):
        (root / "train" / "good" / f"{name}.png").touch()
    if validated:
        write_pictures(root / "validation" / "good", 12, first=52)
    split = load_split(DataConfig("parts", root))
    assert (len(split.train), len(split.held_out)) == ((70, 4) if validated else (30, 30))
    sources = [Path(images.source(i)).read_bytes() for images in (split.train, split.held_out) for i in range(len(images))]  # type: ignore[arg-type]
    assert len(sources) == len(set(sources)) + (10 if validated else 0) and len(split.unreadable) == 2 and len(split.test) == 11
    options = ("--data-root", root, "--recipe", "robust-objects", "--budget", "1e9", "--device", "cpu", "--output", tmp_path)
    said = gannext("train", *options).err
    assert f"normal images left out, as copies of others to train on: {8 if validated else 10}\n" in said
    assert f"so that the accuracy flatters: {6 if validated else 5}\n" in said
    assert load_split(DataConfig("parts", root), test_only=True).remarks == []


def test_the_textures_are_the_same_again_and_their_masks_exact(tmp_path: Path) -> None:
    """Outside its mask a defective patch is the photograph; training, validation and test patches share no pixel."""
    for folder in ("one", "two"):
        make_textures(tmp_path / folder, "brick", 3, train=4, validation=3, good=2, each=2)
    one, two = (sorted(p.relative_to(tmp_path / f) for p in (tmp_path / f).rglob("*.png")) for f in ("one", "two"))
    assert one == two and len(one) == 4 + 3 + 2 + 5 * 2 * 2
    assert all((tmp_path / "one" / p).read_bytes() == (tmp_path / "two" / p).read_bytes() for p in one)
    whole = photograph("brick")
    windows = np.lib.stride_tricks.sliding_window_view(whole, (64, 64))
    for image in sorted(tmp_path.glob("one/test/*/*.png")):
        pixels = np.asarray(Image.open(image)).astype(float)
        if image.parent.name == "good":
            assert (windows == pixels).all((-1, -2)).any()
            continue
        mask = np.asarray(Image.open(tmp_path / "one" / "ground_truth" / image.parent.name / f"{image.stem}_mask.png")) > 0
        row, column = np.argwhere(~mask)[0]
        places = np.argwhere(windows[:, :, row, column] == pixels[row, column])
        assert any((windows[y, x] == pixels)[~mask].all() for y, x in places) and 16 < mask.sum() < 2000


def test_images_are_chosen_by_the_seed(parts: Path, tmp_path: Path) -> None:
    def chosen(root: Path, seed: int) -> tuple[list[object], list[object]]:
        split = load_split(DataConfig("parts", root, train_images=20, test_images=5, seed=seed))
        return [split.train.source(i) for i in range(20)], [split.test.source(i) for i in range(10)]

    shutil.copytree(parts, tmp_path / "parts")
    write_pictures(tmp_path / "parts" / "validation" / "0.normal", 20, first=500)
    for root in (parts, tmp_path / "parts"):
        (train, test), (other_train, other_test) = chosen(root, 0), chosen(root, 1)
        assert chosen(root, 0) == (train, test) and train != other_train and test != other_test


def test_two_processes_may_unpack_debian_s_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, place = tmp_path / "packed", tmp_path / "place"
    packed.mkdir()
    place.mkdir()  # another process has just begun
    for name in ("a", "b"):
        with gzip.open(packed / f"{name}.gz", "wb") as file:
            file.write(name.encode())
    (place / "a").write_bytes(b"a")
    monkeypatch.setattr("gannext.data.datasets.DEBIAN_FASHION_MNIST", packed)
    unpack_debian(place)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"a": b"a", "b": b"b"}
