"""Comparison of runs: tables and a page."""
