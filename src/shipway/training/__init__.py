"""The training loop that `train`'s worker and a sweep's trials share.

`shipway.training.loop` imports TensorFlow; this package and `shipway.training.spec` do not.
"""
