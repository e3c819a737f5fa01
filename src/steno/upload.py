"""`python -m steno.upload`: a run's uploads, in a process of their own."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if sys.argv[1:] == ["--resume"]:
        from steno.collector.uploads.resuming import answer

        sys.stdout.write(answer(sys.stdin.read()))
        sys.exit(0)
    from steno.collector.uploads.uploader import main

    sys.exit(main())
