"""`python -m steno.follow`: one destination with third-party code, in a process of its own."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from steno.collector.child import main

    sys.exit(main())
