"""Doctests are looked for in every module but those that need verl: make test-verl imports them."""

collect_ignore_glob = ["rlsp/engines/verl/*.py"]
