"""Write the run's configuration, as it was checked, beside its results."""

from pathlib import Path
from typing import Any

import yaml

from bandbridge import job
from bandbridge.files import whole_file


def main(settings: dict[str, Any], config: Path) -> None:
    with whole_file(config) as part:
        part.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
