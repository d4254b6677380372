"""Ablations: many training runs that differ in a term or an option, and what each difference is worth."""
