"""The plugin system: what a term or a balancer declares, and the registry that finds it. Loads no torch."""
