"""Reference pages written from the models and the catalogue of checks."""
