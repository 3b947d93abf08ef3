"""The rules of a run as a picture that can be read: Snakemake's graph, by stage and without redundant arrows.

    snakemake --rulegraph mermaid-js | python -m bandbridge.ops.rule_graph > docs/rule_graph.mmd

Rules that differ by data set or by encoder alone are one box. An arrow from a rule to another is left out where the
other needs it through a third one as well. Dotted: jobs of a rule that the choice of alpha needs, and other jobs of it
that wait for the choice.
"""

import re
import sys
from collections.abc import Mapping

from bandbridge.ops.overview import ORDER, stage_of

# Rules that are made for each data set, batch of alphas or encoder: their names begin so.
CHOICE = "select_alpha"
FAMILIES = (
    *("embed_sweep", "embed_student", "embed_other", "fetch_encoder"),
    *("score_zero_shot", "score_text_retrieval", "score_probe", "score_few_shot", "score_knn"),
)
_NODE = re.compile(r"^\s*(id\d+)\[(.+)\]$")
_ARROW = re.compile(r"^\s*(id\d+) --> (id\d+)$")

Graph = Mapping[str, frozenset[str]]


def read_graph(mermaid: str) -> dict[str, frozenset[str]]:
    """Rule -> the rules whose output it reads, of what `snakemake --rulegraph mermaid-js` prints; targets left out.

    Raises:
        ValueError: the text has no rules.
    """
    lines = mermaid.splitlines()
    names = {match[1]: _family(match[2]) for line in lines if (match := _NODE.match(line))}
    if not names:
        raise ValueError("no rules found; expected the output of snakemake --rulegraph mermaid-js")
    arrows = {(names[match[1]], names[match[2]]) for line in lines if (match := _ARROW.match(line))}
    rules = [name for name in dict.fromkeys(names.values()) if name != "all"]
    return {rule: frozenset(source for source, target in arrows if target == rule and source != rule) for rule in rules}


def _family(rule: str) -> str:
    return next((family for family in FAMILIES if rule.startswith(family)), rule)


def waiting(graph: Graph) -> set[str]:
    """The rules that the choice of alpha needs and that wait for it as well: arrows to them would close a circle."""
    without = {rule: sources - {CHOICE} for rule, sources in graph.items()}
    needed = _before(without, CHOICE) if CHOICE in graph else set()
    return {rule for rule in needed if CHOICE in graph[rule]}


def without_circles(graph: Graph) -> dict[str, frozenset[str]]:
    """The graph without the arrows from the choice of alpha to rules that it needs."""
    back = waiting(graph)
    return {rule: sources - {CHOICE} if rule in back else sources for rule, sources in graph.items()}


def without_redundant(graph: Graph) -> dict[str, frozenset[str]]:
    """The transitive reduction of a graph without circles: the same paths with the fewest arrows."""
    return {
        rule: frozenset(
            source for source in sources if not any(source in _before(graph, other) for other in sources - {source})
        )
        for rule, sources in graph.items()
    }


def _before(graph: Graph, rule: str) -> set[str]:
    """All rules that a rule needs, directly or not."""
    reached: set[str] = set()
    ahead = set(graph[rule])
    while ahead:
        source = ahead.pop()
        reached.add(source)
        ahead |= graph[source] - reached
    return reached


def as_mermaid(graph: Graph) -> str:
    """A flow chart of a rule graph with a frame for each stage, without redundant arrows."""
    arrows = without_redundant(without_circles(graph))
    lines = ["flowchart LR"]
    for stage in ORDER:
        rules = sorted(rule for rule in graph if stage_of(rule) == stage)
        if rules:
            lines += [f"  subgraph {stage}", *(f"    {rule}" for rule in rules), "  end"]
    lines += [f"  {source} --> {rule}" for rule in sorted(arrows) for source in sorted(arrows[rule])]
    lines += [f"  {CHOICE} -.-> {rule}" for rule in sorted(waiting(graph))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_mermaid(read_graph(sys.stdin.read())))
