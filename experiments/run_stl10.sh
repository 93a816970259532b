#!/bin/sh
# Trains on STL10 with each class abnormal in turn.
# NITER sets the epochs, CLASSES the classes, PYTHON the interpreter; further options go to train.py.
#   NITER=1 CLASSES="airplane" sh experiments/run_stl10.sh --dim 16
set -e
cd "$(dirname "$0")/.."
for class in ${CLASSES:-airplane bird car cat deer dog horse monkey ship truck}; do
    "${PYTHON:-python}" train.py --dataset stl10 --isize 32 --niter "${NITER:-80}" --abnormal_class "$class" "$@"
done
