"""What `make` calls; run each from the top of the repository: ``python -m tools.NAME``."""
