"""`python -m steno.upload`: a run's uploads, in a process of their own."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from steno.collector.uploads.uploader import main

    sys.exit(main())
