#!/bin/sh
# Trains on CIFAR10 with each class abnormal in turn.
# NITER sets the epochs, CLASSES the classes, PYTHON the interpreter; further options go to train.py.
#   NITER=1 CLASSES="airplane" sh experiments/run_cifar.sh --dim 16
set -e
cd "$(dirname "$0")/.."
for class in ${CLASSES:-airplane automobile bird cat deer dog frog horse ship truck}; do
    "${PYTHON:-python}" train.py --dataset cifar10 --isize 32 --niter "${NITER:-40}" --abnormal_class "$class" "$@"
done
