"""Logistic regressions of a large linear probe, all classes at once, on the GPU where candidate is one."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bandbridge.metrics.probe import Fit, Floats, Integers, Solver
from bandbridge.models.device import best_device

# Of the mean loss. Products are in float32 and sums over blocks, losses and steps in float64: rounding leaves 1e-8.
GRADIENT = 1e-7
ROWS_AT_A_TIME = 2**14  # samples whose logits are held at a time
MEMORY = 10  # steps that L-BFGS remembers
HALVINGS = 20  # of a step, before a regression is as good as its precision allows


def solve(features: Floats, truth: Integers, grid: Sequence[float], max_iterations: int) -> Iterator[Fit]:
    """Weights and bias for each C of the grid, each warm-started from the one before; see `Solver`.

    Minimises sum(loss) + |weights|^2 / (2 C), as scikit-learn does, with L-BFGS on all samples. Binary regressions
    share their matrix products only: each has a separate history and step.
    """
    device = best_device()
    with _exact_products():
        data = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)).to(device)
        target = torch.from_numpy(np.ascontiguousarray(truth)).to(device)
        share = _shares(target)
        binary = target.ndim == 2
        bias = torch.logit(share) if binary else share.log()
        weights = torch.zeros(len(share), data.shape[1], dtype=torch.float64, device=device)
        parameters = torch.cat([weights, bias[:, None]], 1)
        values, vectors = torch.linalg.eigh(_gram(data))
        values = values.clamp(min=0)
    for C in grid:
        penalty = 1 / (C * len(data))
        with _exact_products():
            problem = _Problem(data, target, penalty, share * (1 - share), values, vectors)
            parameters, iterations, gradient = _minimise(problem, parameters, max_iterations)
        if gradient > 100 * GRADIENT:
            warnings.warn(
                f"linear probe, C={C}: stopped after {iterations} iterations at a gradient of {gradient:.1e}; "
                "raise max_iterations",
                stacklevel=2,
            )
        weights, bias = parameters[:, :-1], parameters[:, -1]
        # A constant added to all logits of a softmax changes nothing; scikit-learn's add up to zero.
        yield weights.cpu().numpy(), (bias if binary else bias - bias.mean()).cpu().numpy()


TORCH = Solver("torch", np.float32, solve)


@contextmanager
def _exact_products() -> Iterator[None]:
    """TF32 would leave three digits of a gradient."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _shares(target: Tensor) -> Tensor:
    """Share of the samples that carry each class."""
    if target.ndim == 2:
        return target.sum(dim=0, dtype=torch.float64) / len(target)
    return torch.bincount(target).to(torch.float64) / len(target)


def _gram(data: Tensor) -> Tensor:
    total = torch.zeros(data.shape[1], data.shape[1], dtype=torch.float64, device=data.device)
    for block in torch.split(data, ROWS_AT_A_TIME):
        total += block.T @ block
    return total / len(data)


@dataclass(frozen=True)
class _Problem:
    """The loss of (class, d + 1) parameters, bias last, and what L-BFGS needs to know of it.

    Attributes:
        data: (n, d).
        target: (n,) of class indices or (n, class) of 0 and 1.
        penalty: of half the squared weights, beside the mean loss.
        curvature: (class,) p (1 - p) at the start, where the Hessian of a binary regression is
            curvature * data' data / n + penalty, the preconditioner, so that the first step is Newton's.
        values: (d,) eigenvalues of data' data / n.
        vectors: (d, d) eigenvectors of data' data / n.
    """

    data: Tensor
    target: Tensor
    penalty: float
    curvature: Tensor
    values: Tensor
    vectors: Tensor

    def dot(self, one: Tensor, other: Tensor) -> Tensor:
        """Product per regression: (class, 1), or (1, 1) where the classes are one regression."""
        product = (one * other).sum(dim=1, keepdim=True)
        return product if self.target.ndim == 2 else product.sum(dim=0, keepdim=True)

    def largest(self, gradient: Tensor) -> Tensor:
        size = gradient.abs().amax(dim=1, keepdim=True)
        return size if self.target.ndim == 2 else size.amax(dim=0, keepdim=True)

    def precondition(self, gradient: Tensor) -> Tensor:
        scale = self.curvature[:, None] * self.values + self.penalty
        weights = (gradient[:, :-1] @ self.vectors / scale) @ self.vectors.T
        return torch.cat([weights, gradient[:, -1:] / self.curvature[:, None]], 1)

    def at(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Loss per regression, shaped as by `dot`, and its gradient (class, d + 1)."""
        single = parameters.to(torch.float32)
        weights, bias = single[:, :-1].T.contiguous(), single[:, -1]
        loss, gradient = torch.zeros_like(parameters[:, :1]), torch.zeros_like(parameters)
        loss = loss if self.target.ndim == 2 else loss[:1]
        for data, target in zip(*(torch.split(part, ROWS_AT_A_TIME) for part in (self.data, self.target)), strict=True):
            logits = torch.addmm(bias, data, weights)
            losses, residual = _binary(logits, target) if target.ndim == 2 else _multinomial(logits, target)
            loss += losses
            gradient[:, :-1] += residual.T @ data
            gradient[:, -1] += residual.sum(dim=0, dtype=torch.float64)
        shrunk = parameters.clone()
        shrunk[:, -1] = 0
        n = len(self.data)
        return loss / n + self.penalty / 2 * self.dot(shrunk, shrunk), gradient / n + self.penalty * shrunk


def _binary(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    truth = target.to(logits.dtype)
    losses = torch.nn.functional.softplus(logits) - truth * logits
    return losses.sum(dim=0, dtype=torch.float64)[:, None], torch.sigmoid(logits) - truth


def _multinomial(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logarithms = torch.log_softmax(logits, dim=1)
    truth = target[:, None]
    residual = logarithms.exp()
    residual.scatter_(1, truth, residual.gather(1, truth) - 1)
    return -logarithms.gather(1, truth).sum(dtype=torch.float64), residual


def _minimise(problem: _Problem, start: Tensor, max_iterations: int) -> tuple[Tensor, int, float]:
    """Minimise by L-BFGS.

    Returns:
        The parameters, the number of iterations and the largest remaining gradient.
    """
    current = start
    loss, gradient = problem.at(current)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    stuck = torch.zeros_like(loss, dtype=torch.bool)
    for iteration in range(max_iterations):
        done = stuck | (problem.largest(gradient) <= GRADIENT)
        if done.all():
            return current, iteration, float(problem.largest(gradient).max())
        direction = torch.where(done, 0, -_two_loops(problem, gradient, history))
        slope = problem.dot(gradient, direction)
        step = torch.ones_like(loss)
        for _ in range(HALVINGS):
            candidate = current + step * direction
            new_loss, new_gradient = problem.at(candidate)
            # Near the minimum the slope is more exact than the loss, whose last digits are rounding (approximate Wolfe
            # condition, Hager and Zhang 2005; for a quadratic it is Armijo's).
            good = (problem.dot(new_gradient, direction) <= -0.9 * slope) & (new_loss <= loss + 1e-6 * loss.abs())
            if good.all():
                break
            step = torch.where(good, step, step / 2)
        stuck = stuck | ~good
        candidate, new_loss = torch.where(good, candidate, current), torch.where(good, new_loss, loss)
        new_gradient = torch.where(good, new_gradient, gradient)
        moved, turned = candidate - current, new_gradient - gradient
        history = [*history, (moved, turned, problem.dot(moved, turned))][-MEMORY:]
        current, loss, gradient = candidate, new_loss, new_gradient
    return current, max_iterations, float(problem.largest(gradient).max())


def _two_loops(problem: _Problem, gradient: Tensor, history: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """L-BFGS's inverse Hessian times the gradient (Nocedal and Wright 2006, algorithm 7.4).

    A step whose curvature is not positive, as after a regression has converged, is skipped.
    """
    result, shares = gradient, []
    for moved, turned, curvature in reversed(history):
        share = torch.where(curvature > 0, problem.dot(moved, result) / curvature, 0)
        result = result - share * turned
        shares.append(share)
    result = problem.precondition(result)
    if history:
        _, turned, curvature = history[-1]
        scale = curvature / problem.dot(turned, problem.precondition(turned))
        result = result * torch.where(curvature > 0, scale, 1)
    for (moved, turned, curvature), share in zip(history, reversed(shares), strict=True):
        again = torch.where(curvature > 0, problem.dot(turned, result) / curvature, 0)
        result = result + torch.where(curvature > 0, share - again, 0) * moved
    return result
