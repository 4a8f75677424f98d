"""A user's own frames: a potential trained on them, what it is worth, and one page that shows it.

The description of a run, `train.yaml`, is a card of shared kinds without published values; the
jobs are those of the workflow, done one after the other in this process.
"""
