"""`edgephi batch`: one model folder over a corpus, in processes of this machine or on a Ray cluster."""
