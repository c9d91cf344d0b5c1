"""`python -m greeter`: gunicorn with this project's configuration, and with nothing else from arguments or environment.

As the first process of a container it has to mind SIGTERM itself: the kernel ignores a signal that nobody handles. So
before anything else is imported, which takes a while, SIGTERM ends it; later gunicorn's master takes over.
"""

import os
import signal

signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))

from collections.abc import Callable  # noqa: E402 - see above
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from gunicorn.app.base import Application  # noqa: E402

CONFIGURATION = Path(__file__).parents[1] / "gunicorn.conf.py"


class Greeter(Application):
    """The application as gunicorn's master wants it."""

    def load_config(self) -> None:
        """Read gunicorn.conf.py, and no GUNICORN_CMD_ARGS."""
        self.load_config_from_file(str(CONFIGURATION))

    def load(self) -> Callable[..., Any]:
        """Give the WSGI callable."""
        from greeter.app import app  # noqa: PLC0415 - once the configuration has been checked

        return app


Greeter().run()
