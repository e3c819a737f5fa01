"""The viewer's process, as `steno.view` starts it: options as JSON, one line of JSON when it listens."""

from __future__ import annotations

import json
import sys

from steno.errors import StenoError
from steno.viewer.serve import Options, serve


def _report(address: str, url: str | None) -> None:
    print(json.dumps({"address": address, "url": url or address}), flush=True)


if __name__ == "__main__":
    try:
        serve(Options(**json.loads(sys.argv[1]), parent=0), _report)
    except StenoError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(2)
