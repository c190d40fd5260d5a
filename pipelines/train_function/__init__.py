"""A function of your own as a training job, with one or many workers."""
