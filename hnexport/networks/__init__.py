"""The families of ensembles, each in a folder of its own; `hnexport.families` has the table of them."""
