"""Sweep: search for the parameters with which a recipe does best."""
