"""Footage on many processes and machines: plan, chunks, join, and who does them."""
