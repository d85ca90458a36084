"""Import of ensembles that the public code of the late-phase weights (arXiv 2007.12927, ICLR 2021) trained."""
