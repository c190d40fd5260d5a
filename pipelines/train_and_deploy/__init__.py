"""From rows to a served, verified model."""
