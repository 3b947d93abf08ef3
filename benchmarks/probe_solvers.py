"""The solver of large linear probes against torch.optim.LBFGS: processor seconds over a grid of four values of C.

    python benchmarks/probe_solvers.py 16000 19        samples (of 512 dimensions) and classes, several labels a sample
    python benchmarks/probe_solvers.py 270000 19

Both start at the same point, in the coordinates in which the Hessian is about the identity there, and stop at the same
gradient. torch's optimiser sees all classes as one problem with one step and one history; the package's solver has one
of each per class. `float32` computes products as the package does, and takes plain steps once the gradient is small:
with a line search it stalls on rounding. `float64` needs no such care.
"""

import sys
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from probe import GRID, samples
from torch import Tensor

from bandbridge.metrics.probe import Fit, Floats, Integers
from bandbridge.scoring import probe_solver
from bandbridge.scoring.probe_solver import GRADIENT, ROWS_AT_A_TIME

PLAIN_STEPS = 3e-5  # gradient below which float32 takes steps without a line search
ITERATIONS_AT_A_TIME = 4


def solve(
    features: Floats, truth: Integers, grid: Sequence[float], max_iterations: int, dtype: torch.dtype
) -> Iterator[Fit]:
    """As `probe_solver.solve`, for several labels per sample."""
    data, target = torch.from_numpy(features).to(dtype), torch.from_numpy(truth).to(dtype)
    share = target.mean(dim=0, dtype=torch.float64)
    parameters = torch.cat([torch.zeros(len(share), data.shape[1], dtype=torch.float64), share.logit()[:, None]], 1)
    values, vectors = torch.linalg.eigh((data.T @ data).double() / len(data))
    for C in grid:
        penalty, curvature = 1 / (C * len(data)), (share * (1 - share))[:, None]
        scale = torch.cat([curvature * values.clamp(min=0) + penalty, curvature], 1).sqrt()
        coordinates = (_turned(parameters, vectors) * scale).requires_grad_()
        optimiser = torch.optim.LBFGS(
            [coordinates],
            max_iter=ITERATIONS_AT_A_TIME,
            max_eval=100,
            tolerance_grad=0,
            tolerance_change=0,
            history_size=probe_solver.MEMORY,
            line_search_fn="strong_wolfe",
        )
        gradient = torch.full_like(parameters, torch.inf)

        def closure(coordinates: Tensor = coordinates, scale: Tensor = scale, penalty: float = penalty) -> Tensor:
            loss, gradient = _loss(_turned(coordinates.detach() / scale, vectors.T), data, target, penalty)
            coordinates.grad = _turned(gradient, vectors) / scale
            return loss

        iterations = 0
        while gradient.abs().max() > GRADIENT and iterations < max_iterations:
            if dtype == torch.float32 and gradient.abs().max() < PLAIN_STEPS:
                optimiser.param_groups[0]["line_search_fn"] = None
            optimiser.step(closure)
            parameters = _turned(coordinates.detach() / scale, vectors.T)
            _, gradient = _loss(parameters, data, target, penalty)
            iterations += ITERATIONS_AT_A_TIME
        yield parameters[:, :-1].numpy(), parameters[:, -1].numpy()


def _turned(parameters: Tensor, vectors: Tensor) -> Tensor:
    return torch.cat([parameters[:, :-1] @ vectors, parameters[:, -1:]], 1)


def _loss(parameters: Tensor, data: Tensor, target: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    typed = parameters.to(data.dtype)
    loss, gradient = parameters.new_zeros(()), torch.zeros_like(parameters)
    for block, truth in zip(data.split(ROWS_AT_A_TIME), target.split(ROWS_AT_A_TIME), strict=True):
        logits = torch.addmm(typed[:, -1], block, typed[:, :-1].T)
        loss += (F.softplus(logits) - truth * logits).sum(dtype=torch.float64)
        residual = torch.sigmoid(logits) - truth
        gradient[:, :-1] += residual.T @ block
        gradient[:, -1] += residual.sum(dim=0, dtype=torch.float64)
    shrunk = torch.cat([parameters[:, :-1], torch.zeros_like(parameters[:, -1:])], 1)
    return loss / len(data) + penalty / 2 * shrunk.square().sum(), gradient / len(data) + penalty * shrunk


def main(count: int, classes: int) -> None:
    warnings.simplefilter("error")
    embedding, labels = samples("multi", count, 512, classes, seed=0)
    features = ((embedding - embedding.mean(axis=0)) / embedding.std(axis=0)).astype(np.float32)
    first: list[Fit] = []
    print("| solver | processor seconds | largest difference of a weight |\n|---|--:|--:|")
    for name in ("the package's", "torch.optim.LBFGS, float64", "torch.optim.LBFGS, float32"):
        start = time.process_time()
        if name == "the package's":
            fits = first = list(probe_solver.solve(features, labels, GRID, 1000))
        else:
            fits = list(solve(features, labels, GRID, 1000, torch.float64 if "64" in name else torch.float32))
        seconds = time.process_time() - start
        off = max(np.abs(weights - expected).max() for (weights, _), (expected, _) in zip(fits, first, strict=True))
        print(f"| {name} | {seconds:.1f} | {off:.0e} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ("16000", "19")))
