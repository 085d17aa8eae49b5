"""Fitting what says whether a slice holds a tumour at all, on the features of a network that stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.progress import tell
from tumortrace.train.arrays import PreparedPart
from tumortrace.train.networks import LightUNet, SliceClassifier, pool

RIDGE = 0.01
"""Of the squared weights, beside the mean cross-entropy; a tenth and ten times as much are alike on held-out slices."""

BATCH = 16


def fit_slice_classifier(network: nn.Module, part: PreparedPart) -> bool:
    """Fit the network's slice classifier, if it has one, to the slices and their mirror images; nothing else changes.

    Logistic regression on standardised features by L-BFGS: no draw of chance in it. Both kinds of slices weigh the
    same, for the rare one would have little say; the offset is then moved back to the share that they have (King & Zeng
    2001), so that a doubtful slice is rather said to hold a tumour and the peak threshold decides (``Recipe``). Where
    all slices are of one kind there is nothing to tell apart: it stays as it was, and that is told.

    Args:
        network: Trained, on the CPU or a GPU; set to evaluation afterwards.
        part: What it learnt from.

    Returns:
        Whether there was a classifier and it was fitted.
    """
    if not isinstance(network, LightUNet) or network.slice_classifier is None:
        return False
    with_tumour = (part.truths > 0).flatten(1).any(dim=1)
    if with_tumour.all() or not with_tumour.any():
        kind = "with" if with_tumour.any() else "without"
        tell(
            f"Every slice of TRAIN is {kind} tumour: the slice classifier has nothing to tell apart, and is not fitted"
        )
        return False
    tell("Fitting the slice classifier ...")
    network.eval()
    features = torch.cat([_features(network, part.images), _features(network, part.images.flip(3))])
    _fit(network.slice_classifier, features, with_tumour.repeat(2))
    return True


@torch.no_grad()
def _features(network: LightUNet, images: Tensor) -> Tensor:
    """Shape (N, 2 C), float64, on the CPU."""
    device = network.head.weight.device
    batches = [pool(network.encoder(batch.to(device))[-1]).cpu() for batch in torch.split(images, BATCH)]
    return torch.cat(batches).double()


def _fit(classifier: SliceClassifier, features: Tensor, with_tumour: Tensor) -> None:
    deviations, means = torch.std_mean(features, dim=0)
    deviations = deviations.clamp(min=1e-6)
    standardised = (features - means) / deviations
    share = with_tumour.double().mean()
    weights = torch.where(with_tumour, 0.5 / share, 0.5 / (1 - share))
    slopes = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([slopes, offset], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = standardised @ slopes + offset
        entropy = functional.binary_cross_entropy_with_logits(logits, with_tumour.double(), weight=weights)
        total: Tensor = entropy + RIDGE * (slopes**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scaled = slopes / deviations
        classifier.linear.weight.copy_(scaled[None])
        classifier.linear.bias.copy_((offset + torch.logit(share) - scaled @ means)[None])
