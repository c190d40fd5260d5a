"""Runs a pipeline on this machine with kfp.local, in a process of its own that dies with whoever asked for it."""
