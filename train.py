"""The original's way to train: `python train.py --dataset cifar10 --niter 15 --abnormal_class airplane --display`.

It is `gannext train` with the published recipe.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    try:
        from gannext.cli.main import run_command
    except ModuleNotFoundError as missing:
        sys.exit(f"train.py: {missing.name} is not installed: run `pip install -r requirements.txt` in {Path(__file__).parent}")
    sys.exit(run_command("train", ["--recipe", "published", *sys.argv[1:]], "train.py"))
