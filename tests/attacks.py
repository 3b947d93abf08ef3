"""Count the attacks that the package withstands, kind by kind: `python tests/attacks.py [folder of a package]`.

Attacks are the tests that `pytest.mark.attack` names a kind for. With the folder of another version's package (such as
the `workflow` of an earlier checkout) they are let loose on that one; each may take 15 seconds, 12 GB of addresses and
files of 1 GB, for an attack that succeeds has no end of its own.
"""

import os
import resource
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS, ADDRESSES, FILES = 15, 12 * 1024**3, 1024**3


class Count:
    """A plugin that counts the outcomes of each kind, and ends tests that do not end."""

    def __init__(self) -> None:
        self.all: Counter[str] = Counter()
        self.withstood: Counter[str] = Counter()
        self.not_tried: Counter[str] = Counter()
        self.failed: list[str] = []
        self._kinds: dict[str, str] = {}
        self._outcomes: dict[str, bool] = {}
        self._other_words: set[str] = set()
        self._not_tried: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            mark = item.get_closest_marker("attack")
            if mark is not None:
                self._kinds[item.nodeid] = mark.args[0]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item):
        def over(*_: object) -> None:
            raise TimeoutError(f"no end after {SECONDS} s")

        signal.signal(signal.SIGALRM, over)
        signal.alarm(SECONDS)
        try:
            return (yield)
        finally:
            signal.alarm(0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo):
        report = yield
        if call.excinfo is not None:
            if "Regex pattern did not match" in str(call.excinfo.value):
                self._other_words.add(item.nodeid)
            # Another version may not have what a test changes to make its attack short.
            elif call.excinfo.errisinstance((ImportError, AttributeError)) or "known key" in str(call.excinfo.value):
                self._not_tried.add(item.nodeid)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._kinds.pop(report.nodeid, None)
        elif report.nodeid in self._kinds:
            self._outcomes[report.nodeid] = self._outcomes.get(report.nodeid, True) and report.passed

    def pytest_sessionfinish(self) -> None:
        for node, kind in self._kinds.items():
            if node in self._not_tried:
                self.not_tried[kind] += 1
                continue
            self.all[kind] += 1
            # Refused in other words is refused.
            withstood = self._outcomes.get(node, False) or node in self._other_words
            self.withstood[kind] += withstood
            if not withstood:
                self.failed.append(node)


def main(package: Path) -> None:
    sys.path.insert(0, str(package))
    os.environ["PYTHONPATH"] = str(package)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILES, FILES))
    count = Count()
    files = [str(file) for file in sorted(ROOT.glob("tests/unit/**/test_*.py")) if "mark.attack(" in file.read_text()]
    options = ["-q", "--no-header", "--tb=line", "-m", "attack", "-p", "no:cacheprovider"]
    pytest.main([*options, "--continue-on-collection-errors", *files], [count])
    print("\n| kind | attacks | withstood | not tried |\n|---|---:|---:|---:|")
    for kind, number in sorted(count.all.items()):
        print(f"| {kind} | {number} | {count.withstood[kind]} | {count.not_tried[kind]} |")
    print("\n".join(["", *count.failed]))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "workflow")
