#!/bin/sh
# Trains on MNIST with each class abnormal in turn.
# NITER sets the epochs, CLASSES the classes, PYTHON the interpreter; further options go to train.py.
#   NITER=1 CLASSES="0" sh experiments/run_mnist.sh --dim 16
set -e
cd "$(dirname "$0")/.."
for class in ${CLASSES:-0 1 2 3 4 5 6 7 8 9}; do
    "${PYTHON:-python}" train.py --dataset mnist --isize 32 --niter "${NITER:-40}" --abnormal_class "$class" "$@"
done
