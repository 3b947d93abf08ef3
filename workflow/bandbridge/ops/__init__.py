"""Beside the path of the data: doctor, overview, scheduler and generated docs; nothing imports it."""
