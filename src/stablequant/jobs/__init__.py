"""One file a command: what the command line, and `stablequant` as a library, run."""
