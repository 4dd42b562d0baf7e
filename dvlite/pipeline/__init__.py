"""Pipelines: what `dvlite.yaml` says, what `dvlite.lock` recorded, and the graph between them."""
