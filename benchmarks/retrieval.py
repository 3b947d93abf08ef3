"""Retrieval over a whole split: time and memory beside the necessary matrix product.

    python benchmarks/retrieval.py [samples] [width] [queries]    125,000 samples 512 wide, 4,096 queries

Ranks of the counterparts in both directions among all samples; then the 20 most similar of the whole gallery for some
queries, as label_map@20 and k-NN need them. Each beside only the product of the same matrices, in blocks, as float32.
Memory is what the process takes beyond the two matrices of embeddings.
"""

import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from bandbridge.metrics.retrieval import mutual_ranks, top_k

K, BLOCK = 20, 4096


def main(samples: int, width: int, queries: int) -> None:
    generator = np.random.default_rng(0)
    rgb = generator.standard_normal((samples, width), dtype=np.float32)
    multispectral = generator.standard_normal((samples, width), dtype=np.float32)
    multispectral += rgb
    start = peak_memory()
    ranking = seconds(lambda: mutual_ranks(rgb, multispectral))
    of_ranks = peak_memory() - start
    searching = seconds(lambda: top_k(rgb[:queries], multispectral, K))
    of_both = peak_memory() - start
    product_seconds = seconds(lambda: product(rgb, multispectral))
    product_of_some = seconds(lambda: product(rgb[:queries], multispectral))
    print(f"{samples:,} x {samples:,}, {width} wide; inputs of {2 * rgb.nbytes / 1e6:,.0f} MB\n")
    print("| what | seconds | relative to the product | memory, MB |\n|---|--:|--:|--:|")
    print(f"| only the product, one direction | {product_seconds:.1f} | 1.00 | |")
    print(f"| ranks, both directions | {ranking:.1f} | {ranking / product_seconds:.2f} | {of_ranks:,.0f} |")
    print(f"| only the product, {queries:,} queries | {product_of_some:.1f} | 1.00 | |")
    print(f"| top {K}, {queries:,} queries | {searching:.1f} | {searching / product_of_some:.2f} | {of_both:,.0f} |")


def product(rows: np.ndarray, columns: np.ndarray) -> None:
    scores = np.empty((BLOCK, BLOCK), dtype=np.float32)
    for top in range(0, len(rows), BLOCK):
        for left in range(0, len(columns), BLOCK):
            pair = rows[top : top + BLOCK], columns[left : left + BLOCK]
            tile = scores.reshape(-1)[: len(pair[0]) * len(pair[1])].reshape(len(pair[0]), len(pair[1]))
            np.matmul(pair[0], pair[1].T, out=tile)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_memory() -> float:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    main(*arguments, *(125_000, 512, 4096)[len(arguments) :])
