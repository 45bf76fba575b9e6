"""The drill: breaks scratch engines in every way we know, and shows what was noticed, reported and repaired, and how soon."""
