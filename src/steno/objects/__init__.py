"""Object stores, through fsspec: where a run is kept next to its directory."""
