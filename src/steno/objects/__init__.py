"""Object stores, through fsspec: where a run is kept beside its directory."""
