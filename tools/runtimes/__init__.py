"""What `make runtimes` runs: a module for each runtime, which says how it loads a file, and what is common to them."""
