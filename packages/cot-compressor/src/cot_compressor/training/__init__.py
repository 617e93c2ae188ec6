"""How a scorer is made: annotation of traces, data set and training."""
