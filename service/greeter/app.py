"""The WSGI callable `greeter.app:app`, made from the environment of the process."""

from greeter.api import create_app
from greeter.settings import from_environment
from greeter.state import PROCESS

app = create_app(from_environment(), PROCESS)
