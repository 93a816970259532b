"""Published numbers, to stand beside measured ones: never measured here, each with the protocol that it came from."""

from gannext.evaluation.table import table

CIFAR10 = "bird automobile cat deer dog frog horse airplane ship truck".split()

# Skip-GANomaly, IJCNN 2019 (arXiv 1901.08954), the table of CIFAR10; its classes "car" and "plane" by torchvision's names.
SKIP_GANOMALY_PAPER: dict[str, tuple[float, ...]] = {
    "AnoGAN": (0.411, 0.492, 0.399, 0.335, 0.393, 0.321, 0.399, 0.516, 0.567, 0.511),
    "EGBAD": (0.383, 0.514, 0.448, 0.374, 0.481, 0.353, 0.526, 0.577, 0.413, 0.555),
    "GANomaly": (0.510, 0.631, 0.587, 0.593, 0.628, 0.683, 0.605, 0.633, 0.616, 0.617),
    "Skip-GANomaly": (0.448, 0.953, 0.607, 0.602, 0.615, 0.931, 0.788, 0.797, 0.659, 0.907),
}


def published_numbers(dataset: str) -> str:
    """A Markdown section of the numbers that papers give for a data set; empty where none is known."""
    if dataset != "cifar10":
        return ""
    body = [
        [name, *(f"{value:.3f}" for value in values), f"{sum(values) / len(values):.3f}"]
        for name, values in SKIP_GANOMALY_PAPER.items()
    ]
    return "\n\n".join(
        [
            "## As published",
            "From the Skip-GANomaly paper (IJCNN 2019), not measured here. **Published protocol**: batch norm on the test "
            "batches' own statistics, best epoch on the test set. Compare them with the published column above, if at all.",
            table(["paper's model", *CIFAR10, "average"], body),
        ]
    )
