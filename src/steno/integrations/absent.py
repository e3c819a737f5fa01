"""The error where the framework of an integration cannot be imported."""

from __future__ import annotations


def absent(integration: str, install: str, error: ImportError) -> ImportError:
    """An error that says what is needed, why and by whom, to be raised from the one that is there.

    Args:
        integration: the module's name under `steno.integrations`.
        install: what pip installs.
        error: why the import failed; another package that the framework lacks is named by it.
    """
    return ImportError(
        f"steno.integrations.{integration} needs a package that cannot be imported ({error}): pip install {install}",
        name=error.name,
    )
