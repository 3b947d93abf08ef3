"""Runs beside each other: tables and a page."""
