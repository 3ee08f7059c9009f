"""From a name to an environment: targets, published packages, shipped environments, `make`."""
