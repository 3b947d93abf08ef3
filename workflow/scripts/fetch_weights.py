"""Fetch the published weights of an encoder, and check them; its other facts do not matter."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.catalogue.encoders import facts_of
from bandbridge.models.external.weights import bring_weights


def main(facts: dict, weights: Path) -> None:
    bring_weights(facts_of(facts), weights.parent)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
