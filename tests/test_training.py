"""The objective, one forward pass a use, divergence, and runs that are killed and go on, as real processes."""

import copy
import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning import Trainer

from conftest import SMALL, Command
from gannext import Detector
from gannext.data import DataConfig, load_split
from gannext.detection import normalise
from gannext.networks import NetworkConfig
from gannext.training import RECIPES, GanModule, TrainConfig, fit
from gannext.training.callbacks import EpochLines
from gannext.training.fused import fuse

TINY = NetworkConfig(generator={"dim": 4, "depths": (1, 1), "bottom": 1}, ndf=8, nz=10)


def test_a_step_is_the_published_one(tmp_path: Path) -> None:
    """One training step against SPEC's formulas, written out plainly: every forward pass anew, detached where it says."""
    split = load_split(DataConfig("digits", train_images=16))
    recipe = replace(RECIPES["published"], batch_size=16)
    config = TrainConfig(TINY, recipe, epochs=1, accelerator="cpu")
    trained = fit(config, split, tmp_path, progress=False)

    torch.manual_seed(0)
    g, d = TINY.build_generator(), TINY.build_discriminator()
    x = normalise(split.train.__getitems__(range(16)))
    optimisers = [torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (g, d)]
    real, fake = torch.ones(16), torch.zeros(16)
    bce = F.binary_cross_entropy
    x_hat = g(x)
    logit_hat, f_hat = d(x_hat)
    _, f = d(x)
    (bce(torch.sigmoid(logit_hat), real) + 50 * (x - x_hat).abs().mean() + (f - f_hat).square().mean()).backward()
    optimisers[0].step()
    optimisers[1].zero_grad()
    (logit, f), (logit_hat, f_hat) = d(x), d(x_hat.detach())
    loss = bce(torch.sigmoid(logit), real) + bce(torch.sigmoid(logit_hat), fake) + (f - f_hat).square().mean()
    loss.backward()
    optimisers[1].step()

    for ours, plain in ((trained.generator, g), (trained.discriminator, d)):
        largest = max(float(p.grad.abs().max()) for p in plain.parameters() if p.grad is not None)
        for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
            # Adam's first step is as long as the learning rate whatever the gradient: where that is zero
            # but for rounding (a bias before a batch norm), even the step's direction is open.
            assert b.grad is not None
            clear = b.grad.abs() > 1e-6 * largest
            assert torch.allclose(a[clear], b[clear], atol=1e-6), name


NETWORKS = {
    "published": NetworkConfig("gannext", (32, 32), 3, {"dim": 4, "depths": (1, 2), "bottom": 1, "scale": 0.5}, ndf=8),
    "layer norm": NetworkConfig(
        "gannext", (48, 48), 1, {"dim": 4, "depths": (1, 1), "bottom": 1, "scale": 0.5, "norm": "ln"}, ndf=8
    ),
    "describer": RECIPES["robust-objects"].networks("gannext", (32, 24), 1, {"dim": 4}),
    "judge": RECIPES["robust-textures"].networks("gannext", (44, 40), 1, {"dim": 4}),
}


@pytest.mark.parametrize("slow_products", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_as_they_are_written(name: str, slow_products: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts as they are trained give what `gannext.networks` gives, whatever the processor is slow at: outputs, gradients,
    running statistics."""
    monkeypatch.setattr("gannext.training.fused.slow_products", lambda: slow_products)
    networks = NETWORKS[name]
    torch.manual_seed(0)
    for plain in (networks.build_generator().double(), networks.build_discriminator().double()):
        for module in plain.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.BatchNorm2d)) and module.bias is not None:
                torch.nn.init.normal_(module.bias)
        fused = fuse(copy.deepcopy(plain)).to(memory_format=torch.channels_last)
        assert any(type(a) is not type(b) for a, b in zip(plain.modules(), fused.modules(), strict=True))
        x = torch.rand(16, networks.channels, *networks.size, dtype=torch.double) * 2 - 1
        results = []
        for network in (plain, fused):
            out = network(x)
            values = out if isinstance(out, tuple) else (out,)
            sum((value * torch.linspace(-1, 2, value.numel()).view(value.shape)).sum() for value in values).backward()
            grads = [p.grad for p in network.parameters() if p.grad is not None]
            results.append([*values, *network.buffers(), network.eval()(x)[0], *grads])
        assert len(results[0]) == len(results[1])
        largest = max(float(value.detach().abs().max()) for value in results[0])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-10 * largest)


def test_each_network_runs_once_a_use(tmp_path: Path) -> None:
    """A step passes the images through G once, and through D once for x and once for its reconstruction."""
    calls = {"generator": 0, "discriminator": 0}
    original = GanModule.__init__

    def counted(self: GanModule, *args: object) -> None:
        original(self, *args)  # type: ignore[arg-type]
        for name in calls:
            getattr(self, name).register_forward_hook(
                lambda module, *_, name=name: calls.__setitem__(name, calls[name] + module.training)
            )

    split = load_split(DataConfig("digits", train_images=64))
    GanModule.__init__ = counted  # type: ignore[method-assign,assignment]
    try:
        config = TrainConfig(TINY, replace(RECIPES["published"], batch_size=16), epochs=2, accelerator="cpu")
        fit(config, split, tmp_path, progress=False)
    finally:
        GanModule.__init__ = original  # type: ignore[method-assign]
    assert calls == {"generator": 8, "discriminator": 16}


ALLOCATIONS = """
import resource
import sys
from dataclasses import replace
from pathlib import Path
import torch
from lightning.pytorch.callbacks import Callback
from gannext.data import DataConfig, load_split
from gannext.networks import NetworkConfig
from gannext.training import RECIPES, TrainConfig, fit

def faults():  # pages that the system clears for five blocks, one freed before the next
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(256 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

class Watch(Callback):
    def on_train_end(self, *_):
        faults()
        self.faults, self.resident = faults(), resident()

before, watch = faults(), Watch()
networks = NetworkConfig(generator={"dim": 4, "depths": (1, 1), "bottom": 1}, ndf=8, nz=10)
config = TrainConfig(networks, replace(RECIPES["published"], batch_size=16), epochs=1, accelerator="cpu")
fit(config, load_split(DataConfig("digits", train_images=16)), Path(sys.argv[1]), callbacks=[watch], progress=True)
print(before, watch.faults, watch.resident - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' allocators are left alone")
def test_memory_that_is_freed_is_kept_while_it_trains_and_given_back(tmp_path: Path) -> None:
    """In a process of its own, whose memory nothing else has left in pieces."""
    command = [sys.executable, "-c", ALLOCATIONS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, within, given_back = map(int, done.stdout.splitlines()[-1].split())
    assert 3 * within < before and given_back > 128 << 20


def test_bfloat16_s_losses_are_within_the_noise_of_32_bits(tmp_path: Path) -> None:
    """The same run at both precisions, whose losses differ by less than those of other seeds do."""
    split = load_split(DataConfig("digits", train_images=256))
    recipe = replace(RECIPES["published"], batch_size=32, lr=1e-3)

    def losses(name: str, seed: int, precision: str) -> np.ndarray:
        config = TrainConfig(TINY, recipe, epochs=6, seed=seed, accelerator="cpu", precision=precision)
        fit(config, split, tmp_path / name, progress=False)
        with (tmp_path / name / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return np.array([[float(row[f"loss/{one}"]) for one in ("generator", "discriminator")] for row in rows])

    whole = np.stack([losses(f"whole{seed}", seed, "32-true") for seed in range(3)])  # (seeds, epochs, 2)
    noise = np.abs(whole[1:] - whole[0]).mean((0, 1))
    assert (np.abs(losses("half", 0, "bf16-mixed") - whole[0]).mean(0) < noise).all()


@pytest.mark.parametrize("slow", [True, False])
def test_a_processor_without_bfloat16_is_warned_about(
    slow: bool, gannext: Command, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gannext.detection.slow_in_bf16", lambda: slow)
    options = ("--epochs", 1, "--batch-size", 16, "--precision", "bf16-mixed", *SMALL)
    done = gannext("train", "--data-root", parts, "--output", tmp_path, *options)
    assert done.code == 0
    assert ("pass --precision 32-true" in done.err) is slow


def test_what_is_logged(trained: Path) -> None:
    with (trained / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, 31)] and rows[-1]["step"] == "120"
    for name in ("generator", "discriminator", "adversarial", "reconstruction", "latent"):
        assert all(float(row[f"loss/{name}"]) > 0 for row in rows)
    assert float(rows[0]["lr"]) == pytest.approx(0.002) and float(rows[0]["speed/images_per_second"]) > 0
    assert float(rows[-1]["speed/data_wait"]) < 0.5 and float(rows[-1]["loss/held_out_l1"]) > 0


def test_the_run_s_folder_holds_everything(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {
        "config.yaml", "detector.gannext", "evaluation.json", "examples", "last.ckpt", "metrics.csv", "pictures",
    }  # fmt: skip
    shown = {f"epoch_{epoch:04d}.png" for epoch in range(3, 31, 3)}  # of four steps each
    assert {p.name for p in (trained / "pictures").iterdir()} == {*shown, "overview.png"}
    assert len(list((trained / "examples").iterdir())) == 8


def test_a_discriminator_that_has_won_is_born_again() -> None:
    module = GanModule(TINY, RECIPES["published"])
    before = module.discriminator.to_features.weight.clone()  # type: ignore[union-attr,operator]
    module._watch({"generator": torch.tensor(3.0), "discriminator": torch.tensor(2e-5)})
    assert torch.equal(module.discriminator.to_features.weight, before)  # type: ignore[union-attr]
    module._watch({"generator": torch.tensor(3.0), "discriminator": torch.tensor(0.9e-5)})
    assert not torch.equal(module.discriminator.to_features.weight, before)  # type: ignore[union-attr]


def test_divergence_stops_with_the_step_and_keeps_the_last_good_state(
    gannext: Command, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = GanModule.training_step

    def spoilt(self: GanModule, batch: torch.Tensor, batch_idx: int) -> None:
        if self.steps == 6:
            with torch.no_grad():
                next(self.generator.parameters()).fill_(float("nan"))
        original(self, batch, batch_idx)

    monkeypatch.setattr(GanModule, "training_step", spoilt)
    outcome = gannext("train", "--data-root", parts, "--epochs", 3, "--batch-size", 16, *SMALL, "--output", tmp_path)
    assert outcome.code == 2 and "step 7 (epoch 2)" in outcome.err and "last.ckpt" in outcome.err
    checkpoint = torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)
    assert checkpoint["gannext"]["steps"] == 4
    assert all(torch.isfinite(t).all() for t in checkpoint["state_dict"].values())


def command(output: Path, *extra: str) -> list[str]:
    options = ["--train-images", "480", "--batch-size", "16", "--epochs", "5", "--output", str(output), *SMALL]
    return [sys.executable, "-m", "gannext.cli.main", "train", *options, *extra]


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.02)


def weights(output: Path) -> dict[str, torch.Tensor]:
    detector = Detector.load(next(output.rglob("detector.gannext")))
    return {**detector.generator.state_dict(), **{f"d.{k}": v for k, v in detector.discriminator.state_dict().items()}}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    output = tmp_path_factory.mktemp("whole")
    subprocess.run(command(output), check=True, capture_output=True)
    return weights(output)


def test_a_killed_run_resumes_to_the_same_weights(uninterrupted: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """kill -9 twice, at moments that the clock picks, and once more with --resume and nothing else."""
    rng = np.random.default_rng(os.getpid())
    for kills in range(2):
        with subprocess.Popen(
            command(tmp_path, *(["--resume"] if kills else [])), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_for(lambda: len(list(tmp_path.rglob("epoch_*.png"))) > kills, process)  # noqa: B023
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.rglob("detector.gannext"))
    subprocess.run([*command(tmp_path), "--resume"], check=True, capture_output=True)
    resumed = weights(tmp_path)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in uninterrupted.items())
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5"]


def test_ctrl_c_saves_in_the_middle_of_an_epoch_and_says_how_to_go_on(
    uninterrupted: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    with subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: list(tmp_path.rglob("epoch_0002.png")), process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    run = next(tmp_path.rglob("last.ckpt")).parent
    assert process.returncode == 130 and f"gannext train --resume {run}" in err and err.count("\n") == 1, err
    step = torch.load(run / "last.ckpt", weights_only=True)["gannext"]["steps"]
    assert step > 60
    subprocess.run([sys.executable, "-m", "gannext.cli.main", "train", "--resume", str(run)], check=True, capture_output=True)
    resumed = weights(tmp_path)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in uninterrupted.items())


def test_the_time_left_is_that_of_the_steps_left_at_this_run_s_pace() -> None:
    lines, module = EpochLines(), GanModule(TINY, RECIPES["published"], total_steps=60)
    module.steps = 10  # of a run that goes on
    lines.on_train_start(Trainer(logger=False, accelerator="cpu", enable_checkpointing=False), module)
    lines.started -= 40.0
    module.steps = 30
    assert lines.time_left(module) == "60 s"


def test_a_run_by_the_robust_recipe_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """Corruptions, schedule and averaged weights go on as if nothing had happened."""
    robust = ("--recipe", "robust-textures", "--train-images", "160", "--epochs", "3")
    subprocess.run(command(tmp_path / "whole", *robust), check=True, capture_output=True)
    with subprocess.Popen(command(tmp_path / "cut", *robust), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: list(tmp_path.glob("cut/**/epoch_0001.png")), process)  # type: ignore[arg-type]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    subprocess.run([*command(tmp_path / "cut", *robust), "--resume"], check=True, capture_output=True)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_a_training_does_not_take_apple_s_gpu_by_itself(
    parts: Path, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would: the detector takes the CPU where there is no CUDA."""
    monkeypatch.setattr("lightning.fabric.accelerators.MPSAccelerator.is_available", staticmethod(lambda: True))
    options = ("--data-root", parts, "--batch-size", 16, "--epochs", 1, *SMALL, "--device", "auto", "--output", tmp_path)
    assert gannext("train", *options).code == 0


@pytest.mark.parametrize("cache", ["memory", "stream"])
def test_a_finished_run_goes_on_for_more_epochs(cache: str, gannext: Command, parts: Path, tmp_path: Path) -> None:
    options = ["--data-root", parts, "--batch-size", 16, "--cache", cache, *SMALL, "--output"]
    assert gannext("train", *options, tmp_path / "whole", "--epochs", 4).code == 0
    assert gannext("train", *options, tmp_path / "parts", "--epochs", 2).code == 0
    outcome = gannext("train", *options, tmp_path / "parts", "--resume", "--epochs", 4)
    assert outcome.code == 0 and "epoch 3/4" in outcome.out and "epoch 2/4" not in outcome.out
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_resuming_refuses_another_course(trained: Path, gannext: Command, tmp_path: Path) -> None:
    outcome = gannext("train", "--resume", trained, "--dim", 12)
    assert outcome.code == 2 and "--dim 4" in outcome.err and "12" in outcome.err
    outcome = gannext("train", "--resume", tmp_path)
    assert outcome.code == 2 and "no run to resume" in outcome.err
    outcome = gannext("train", "--resume", "--output", tmp_path)
    assert outcome.code == 2 and "no run to resume" in outcome.err


def test_a_damaged_checkpoint_is_refused(trained: Path, gannext: Command, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((trained / "config.yaml").read_text())
    (tmp_path / "last.ckpt").write_bytes((trained / "last.ckpt").read_bytes()[:5000])
    outcome = gannext("train", "--resume", tmp_path)
    assert outcome.code == 2 and "last.ckpt cannot be read" in outcome.err and outcome.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.longest
def test_the_published_recipe_trains_on_fashion_mnist(gannext: Command, tmp_path: Path) -> None:
    """9 normal classes, 5,120 images, dim 16, batch 128: mean |x - x̂| falls under 0.20 within 7 epochs."""
    outcome = gannext(
        "train", "--dataset", "fashion_mnist", "--data-root", tmp_path / "data", "--abnormal-class", "sneaker",
        "--train-images", 5120, "--test-images", 200, "--recipe", "published", "--dim", 16, "--epochs", 7,
        "--output", tmp_path, "--protocol", "published",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["loss/reconstruction"]) > 0.5 and float(rows[-1]["loss/held_out_l1"]) < 0.20
    assert float(rows[-1]["speed/data_wait"]) < 0.05
    assert "honest" in outcome.out and "published, best epoch" in outcome.out and "They differ because" in outcome.out
