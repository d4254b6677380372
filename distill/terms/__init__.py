"""The built-in loss terms, one module each; `configs` declares their options without torch."""
