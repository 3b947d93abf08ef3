"""The rules of a run as a picture that can be read: Snakemake's graph, by stage and without redundant arrows.

    snakemake --rulegraph mermaid-js | python -m bandbridge.ops.rule_graph > docs/rule_graph.mmd

Rules that differ by data set or by encoder alone are one box. An arrow from a rule to another is left out where the
other needs it through a third one as well. Dotted: jobs of a rule that the choice of alpha needs, and other jobs of it
that wait for the choice.
"""

import re
import sys

import networkx as nx

from bandbridge.ops.overview import ORDER, stage_of

# Rules that are made for each data set, batch of alphas or encoder: their names begin so.
CHOICE = "select_alpha"
FAMILIES = (
    *("embed_sweep", "embed_student", "embed_other", "fetch_encoder"),
    *("score_zero_shot", "score_text_retrieval", "score_probe", "score_few_shot", "score_knn"),
)
_NODE = re.compile(r"^\s*(id\d+)\[(.+)\]$")
_ARROW = re.compile(r"^\s*(id\d+) --> (id\d+)$")


def read_graph(mermaid: str) -> nx.DiGraph:
    """The rules that `snakemake --rulegraph mermaid-js` prints, an arrow to each that reads the output; no targets.

    Raises:
        ValueError: the text has no rules.
    """
    lines = mermaid.splitlines()
    names = {match[1]: _family(match[2]) for line in lines if (match := _NODE.match(line))}
    if not names:
        raise ValueError("no rules found; expected the output of snakemake --rulegraph mermaid-js")
    graph = nx.DiGraph((names[match[1]], names[match[2]]) for line in lines if (match := _ARROW.match(line)))
    graph.add_nodes_from(names.values())
    graph.remove_nodes_from(["all"])
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    return graph


def _family(rule: str) -> str:
    return next((family for family in FAMILIES if rule.startswith(family)), rule)


def waiting(graph: nx.DiGraph) -> set[str]:
    """The rules that the choice of alpha needs and that wait for it as well: arrows to them would close a circle."""
    if CHOICE not in graph:
        return set()
    behind = set(graph.successors(CHOICE))
    needed: set[str] = nx.ancestors(nx.restricted_view(graph, [], graph.out_edges(CHOICE)), CHOICE)
    return behind & needed


def as_mermaid(graph: nx.DiGraph) -> str:
    """A flow chart of a rule graph with a frame for each stage, without redundant arrows."""
    back = waiting(graph)
    arrows = nx.transitive_reduction(nx.restricted_view(graph, [], [(CHOICE, rule) for rule in back]))
    lines = ["flowchart LR"]
    for stage in ORDER:
        rules = sorted(rule for rule in graph if stage_of(rule) == stage)
        if rules:
            lines += [f"  subgraph {stage}", *(f"    {rule}" for rule in rules), "  end"]
    lines += [f"  {source} --> {rule}" for source, rule in sorted(arrows.edges, key=lambda arrow: arrow[::-1])]
    lines += [f"  {CHOICE} -.-> {rule}" for rule in sorted(back)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_mermaid(read_graph(sys.stdin.read())))
