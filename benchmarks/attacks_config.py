"""Mistakes in configurations: how many end in a traceback, and how many that no run could follow are accepted.

python benchmarks/attacks_config.py              2,000 configurations, mutated by tests/support/mutated_configs.py
python benchmarks/attacks_config.py --number 500 --seed 1
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print a table, one row per kind of mistake, and an example of everything that should not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import mutated_configs

    from bandbridge.base.errors import UserError
    from bandbridge.config.checks import validate

    try:
        from bandbridge.models.model_checks import student_fault
    except ImportError:  # a version before it
        student_fault = None

    random, start = Random(arguments.seed), time.perf_counter()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in mutated_configs.CHANGES}
    examples: Counter[str] = Counter()
    for _ in range(arguments.number):
        mutant = mutated_configs.mutant(random)
        kind, outcome = mutant.kinds[0], "refused"
        counts[kind]["all"] += 1
        try:
            config = validate(mutant.config)
            outcome = "accepted" if mutated_configs.students_can_be_built(config, student_fault) else "refused"
        except UserError:
            pass
        except Exception as error:
            outcome = "traceback"
            examples[f"traceback: {type(error).__name__}: {str(error)[:90]}"] += 1
        if outcome == "accepted":
            try:
                mutated_configs.run_in_small(config)
            except Exception as error:
                outcome = "accepted, cannot run"
                examples[f"cannot run: {type(error).__name__}: {str(error)[:90]}"] += 1
        counts[kind][outcome] += 1
    columns = ("all", "refused", "accepted", "traceback", "accepted, cannot run")
    print(f"| mistake in | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for kind, endings in counts.items():
        print(f"| {kind} | {' | '.join(str(endings[column]) for column in columns)} |")
    total = sum(counts.values(), Counter())
    print(f"| together | {' | '.join(str(total[column]) for column in columns)} |")
    print(f"\n{time.perf_counter() - start:.0f} s")
    for example, count in examples.most_common(25):
        print(f"{count:5d}  {example}")


if __name__ == "__main__":
    main()
