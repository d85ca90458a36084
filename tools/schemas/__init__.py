"""JSON Schemas of everything that hnexport writes as JSON, and the pages about them; `make schemas` writes both."""
