"""Labels and annotations on everything that Shipway creates."""

from __future__ import annotations

PREFIX = "shipway.dev"
MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = f"{PREFIX}/name"  # the model's name
RUN = f"{PREFIX}/run"  # the run that owns the object
TASK = f"{PREFIX}/task"  # the task of that run
ATTEMPT = f"{PREFIX}/attempt"
LEASE = f"{PREFIX}/lease"  # seconds for which a job outlives its step; without it a job is a person's, and left alone
SPEC_HASH = f"{PREFIX}/spec-hash"  # annotation: sha256 of the manifest, so that a changed spec is never adopted

# Annotation of an MPIJob v1: its image runs sshd too, which looks here for keys, so it may be played as v2beta1.
SSH_AUTH = f"{PREFIX}/ssh-auth-mount-path"

# Annotation of a job whose replicas end with 2 for a user's mistake: whatever the restart policy, that is final.
MISTAKES_ARE_FINAL = f"{PREFIX}/mistakes-are-final"

# Annotation of a job: an image that a recipe brings its own framework in. On a machine without containers the
# run's own environment stands for it, which either holds that framework or says what is missing.
RECIPE_IMAGE = f"{PREFIX}/recipe-image"


def common(name: str, run: str, task: str) -> dict[str, str]:
    """The labels that every created object carries."""
    return {MANAGED_BY: "shipway", NAME: name, RUN: run, TASK: task}
