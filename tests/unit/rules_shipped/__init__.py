"""The rules that ship, on the texts and figures that operators published."""
