"""The predictor: a model behind KServe's V1 and V2 protocols, and the client that asks it."""
