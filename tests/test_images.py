"""Pictures of every kind load as a person would see them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannext.runtime import InputError, array_to_pixels, decode_image, find_images, resize, to_pixels

RAMP = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (8, 1))  # dark on the left, bright on the right


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1", "CMYK"])
def test_every_mode_looks_as_it_should(mode: str, channels: int, tmp_path: Path) -> None:
    path = saved(Image.fromarray(RAMP).convert(mode), tmp_path / ("x.tif" if mode == "CMYK" else "x.png"))
    pixels = decode_image(path, channels)
    assert pixels.shape == (8, 16, channels) and pixels.dtype == np.uint8
    assert pixels[:, -1].mean() > 220 and pixels[:, 0].mean() < 35


def test_sixteen_bits_keep_their_contrast(tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint16) * 257
    assert np.array_equal(decode_image(saved(Image.fromarray(deep), tmp_path / "x.png"), 1)[..., 0], RAMP)
    assert np.array_equal(decode_image(saved(Image.fromarray(deep), tmp_path / "x.tif"), 1)[..., 0], RAMP)


def test_float_tiff(tmp_path: Path) -> None:
    path = saved(Image.fromarray((RAMP / 255).astype(np.float32)), tmp_path / "x.tif")
    assert np.array_equal(decode_image(path, 1)[..., 0], RAMP)


def test_transparency_shows_white(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert("RGBA")
    image.putalpha(0)
    assert decode_image(saved(image, tmp_path / "x.png"), 3).min() == 255
    palette = Image.fromarray(RAMP).convert("P")
    path = saved(palette, tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    assert decode_image(path, 3)[0, 0].min() == 255


def test_the_camera_s_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    path = saved(Image.fromarray(RAMP).convert("RGB"), tmp_path / "x.jpg", exif=exif, quality=95)
    pixels = decode_image(path, 1)
    assert pixels.shape == (16, 8, 1)
    assert pixels[0].mean() < 35 and pixels[-1].mean() > 220


def test_resizing_up_and_down_keeps_the_picture() -> None:
    pixels = to_pixels(Image.fromarray(RAMP), 3)
    assert resize(pixels, (32, 64)).shape == (32, 64, 3)
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert abs(int(resize(checks, (16, 16)).mean()) - 127) <= 1  # antialiased: no moiré
    assert resize(checks, (16, 16))[2:-2, 2:-2].std() < 3


def test_arrays_are_read_by_type() -> None:
    expected = array_to_pixels(RAMP)
    assert np.array_equal(array_to_pixels(RAMP / 255), expected)
    assert np.array_equal(array_to_pixels(RAMP.astype(np.uint16) * 257), expected)
    for bad in (RAMP.astype(np.int64), RAMP / 100, np.zeros((3, 8, 8), np.uint8), np.zeros(5, np.uint8)):
        with pytest.raises(InputError):
            array_to_pixels(bad)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:3000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in (("cut", "truncated"), ("empty", "empty"), ("text", "no format"), ("missing", "exist")):
        with pytest.raises(InputError, match=reason) as error:
            decode_image(tmp_path / f"{name}.png")
        assert f"{name}.png" in str(error.value)


def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.new("L", (300, 300)), tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    with pytest.raises(InputError, match="million pixels"):
        decode_image(path)


def test_folders_are_searched_in_depth_and_in_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.JPG", "3.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.name for p in find_images([tmp_path])] == ["3.tif", "1.JPG", "2.png"]
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        find_images([tmp_path / "c"])
