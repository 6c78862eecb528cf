"""One file per stage: read the store, call a pure function, write the store."""
