"""Floors: what any GAN must beat. Classical detectors on raw pixels, from scikit-learn, on the very same split."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gannext.data import Images, Split, make_loader

Vectors: TypeAlias = NDArray[np.float32]  # (N, C*H*W) in [0, 1]
COMPONENTS = 64


def nearest_neighbours(train: Vectors, test: Vectors, seed: int) -> NDArray[np.float64]:
    """Mean Euclidean distance to the five nearest training images."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=min(5, len(train))).fit(train).kneighbors(test)
    return distances.mean(1)


def principal_components(train: Vectors, test: Vectors, seed: int) -> NDArray[np.float64]:
    """Mean squared error of the reconstruction from 64 principal components."""
    pca = fitted_pca(train, seed)
    return np.square(test - pca.inverse_transform(pca.transform(test))).mean(1)


def isolation_forest(train: Vectors, test: Vectors, seed: int) -> NDArray[np.float64]:
    """Isolation forest (ICDM 2008) on 64 principal components."""
    from sklearn.ensemble import IsolationForest

    pca = fitted_pca(train, seed)
    forest = IsolationForest(random_state=seed).fit(pca.transform(train))
    return -forest.score_samples(pca.transform(test))


def one_class_svm(train: Vectors, test: Vectors, seed: int) -> NDArray[np.float64]:
    """One-class support vector machine, with scikit-learn's defaults, on 64 principal components."""
    from sklearn.svm import OneClassSVM

    pca = fitted_pca(train, seed)
    return -OneClassSVM().fit(pca.transform(train)).score_samples(pca.transform(test))


def brightness(train: Vectors, test: Vectors, seed: int) -> NDArray[np.float64]:
    """Distance of an image's mean brightness from the training images' mean, and nothing else."""
    return np.abs(test.mean(1) - train.mean()).astype(np.float64)


def fitted_pca(train: Vectors, seed: int) -> Any:
    """scikit-learn's PCA with 64 components, or fewer where there are fewer images or pixels."""
    from sklearn.decomposition import PCA

    return PCA(min(COMPONENTS, *train.shape), random_state=seed).fit(train)


Floor: TypeAlias = Callable[[Vectors, Vectors, int], NDArray[np.float64]]
"""From training images, test images and a seed to anomaly scores (N,) of the test images."""

FLOORS: dict[str, Floor] = {
    "knn": nearest_neighbours,
    "pca": principal_components,
    "isolation-forest": isolation_forest,
    "one-class-svm": one_class_svm,
    "brightness": brightness,
}


def floor_scores(name: str, split: Split, seed: int) -> NDArray[np.float64]:
    """The anomaly scores (N,) that a floor gives the split's test images."""
    return FLOORS[name](vectors(split.train), vectors(split.test), seed)


def vectors(images: Images) -> Vectors:
    """All images, as rows of numbers in [0, 1]."""
    parts = [batch.flatten(1).float().div_(255) for batch in make_loader(images, 512)]
    return torch.cat(parts).numpy()
