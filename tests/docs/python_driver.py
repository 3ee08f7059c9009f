"""Execute Python snippets one after another in one namespace; the far end of `Page.python`.

Each line of standard input is ``{"code", "page", "line"}``; each line of standard output answers
``{"output", "failure"}``. What a snippet prints is caught, so the two never mix.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from typing import Any


def main() -> None:
    """Serve snippets until standard input ends."""
    replies = sys.stdout
    namespace: dict[str, Any] = {"__name__": "__main__"}
    sys.path.insert(0, "")
    for line in sys.stdin:
        request = json.loads(line)
        printed, failure = io.StringIO(), None
        # Blank lines before the code make the traceback's line numbers those of the page.
        source = "\n" * (request["line"] - 1) + request["code"]
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(source, request["page"], "exec"), namespace)
        except (
            BaseException
        ):  # the boundary: whatever a snippet raises is the page's failure, reported as such
            failure = traceback.format_exc()
        replies.write(json.dumps({"output": printed.getvalue(), "failure": failure}) + "\n")
        replies.flush()


main()
