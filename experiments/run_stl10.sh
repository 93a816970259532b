#!/bin/sh
# The paper's setting on STL10: every model and floor, each class abnormal in turn; the tables go to output/benchmark/stl10.
# It goes on where it stopped. NITER sets the epochs, CLASSES the classes, MODELS the models, PYTHON the interpreter;
# further options go to `gannext benchmark`.
#   NITER=1 CLASSES=airplane MODELS=gannext sh experiments/run_stl10.sh --dim 16
set -e
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" -m gannext.cli.main benchmark --dataset stl10 --preset paper \
    ${NITER:+--epochs "$NITER"} ${CLASSES:+--classes "$CLASSES"} ${MODELS:+--models "$MODELS"} "$@"
