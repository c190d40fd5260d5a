"""Functions of a person's own: taken out of a notebook or a file, sent along, called where trials and replicas run."""
