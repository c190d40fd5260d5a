"""A function of your own, called with one choice of parameters after another: the best are found."""
