"""The built-in loss terms, one module each; `distill.plugin.builtin_terms` declares their options."""
