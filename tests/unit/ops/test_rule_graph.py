"""The picture of the rules has every rule once and every path between them, with few arrows."""

import pytest

from bandbridge.ops.rule_graph import as_mermaid, read_graph, waiting

PRINTED = """---
title: DAG
---
flowchart TB
	id0[all]
	id1[report]
	id2[score_zero_shot]
	id3[embed_sweep_digits_new]
	id4[embed_sweep_demo_land_cover_encoded]
	id5[finetune]
	id6[select_alpha]
	style id0 fill:#D97257,stroke-width:2px,color:#333333
	id5 --> id3
	id5 --> id4
	id3 --> id2
	id4 --> id2
	id5 --> id2
	id2 --> id6
	id6 --> id2
	id6 --> id1
	id2 --> id1
	id1 --> id0
"""


def test_rules_that_differ_by_data_set_are_one():
    assert set(read_graph(PRINTED).edges) == {
        ("finetune", "embed_sweep"),
        ("finetune", "score_zero_shot"),
        ("embed_sweep", "score_zero_shot"),
        ("score_zero_shot", "select_alpha"),
        ("select_alpha", "score_zero_shot"),
        ("select_alpha", "report"),
        ("score_zero_shot", "report"),
    }


def test_jobs_that_wait_for_the_choice_that_their_rule_feeds_close_no_circle():
    graph = read_graph(PRINTED)
    assert waiting(graph) == {"score_zero_shot"}
    assert "  select_alpha --> score_zero_shot" not in as_mermaid(graph)


def test_an_arrow_that_a_longer_path_implies_is_left_out():
    chart = as_mermaid(read_graph(PRINTED)).splitlines()
    assert [line for line in chart if line.endswith("--> report")] == ["  select_alpha --> report"]
    assert [line for line in chart if line.endswith("--> score_zero_shot")] == ["  embed_sweep --> score_zero_shot"]


def test_the_chart_has_a_frame_for_each_stage():
    chart = as_mermaid(read_graph(PRINTED))
    boxes = ["  subgraph Patching", "    embed_sweep", "    finetune", "    select_alpha", "  end"]
    assert chart.splitlines()[:6] == ["flowchart LR", *boxes]
    assert chart.endswith("  select_alpha -.-> score_zero_shot\n")
    assert chart.count("finetune") == 2  # the box, and the one arrow to the sweep


def test_what_is_no_graph_is_refused():
    with pytest.raises(ValueError, match="expected the output of snakemake --rulegraph mermaid-js"):
        read_graph("Nothing to be done.")
