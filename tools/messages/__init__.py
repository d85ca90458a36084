"""Every message that hnexport raises or warns with, out of its source; `make errors` writes the page about them."""
