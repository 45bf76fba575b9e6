"""The kit that every connector uses. Knows none of them."""
