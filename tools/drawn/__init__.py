"""The pictures of the documentation, each made by a function; `python tools/make_pictures.py` makes them."""
