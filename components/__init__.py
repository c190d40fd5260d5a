"""Component rooms, one folder per verb."""
