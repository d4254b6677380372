"""Balancers: what makes weights more than fixed factors; `configs` declares them without torch."""
