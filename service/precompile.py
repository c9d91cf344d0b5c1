"""Compile what a start of the greeter imports, of the standard library too. Runs while the image is built.

Python looks for the bytecode of `-OO` under a name of its own, which no base image has, and the official ones have no
bytecode at all. The greeter's root filesystem is read-only, so each start would compile some hundred modules anew.

Run it with the options that the greeter gets, since they decide what is compiled, and where to.
"""

import importlib
import os
import py_compile
import sys
from pathlib import Path

ROOT = Path("/opt/greeter")
# The first two are what runs; the others gunicorn imports by name, or not before they are needed.
MODULES = ("greeter.app", "greeter.worker", "gunicorn.app.base", "gunicorn.glogging", "gunicorn.sock")
# What runs without being imported.
SCRIPTS = (ROOT / "greeter/__main__.py", ROOT / "gunicorn.conf.py")

# The modules read the settings while they are imported.
os.environ |= {"GREETING": "-", "CUSTOMER_NAME": "a"}
sys.path[0] = str(ROOT)
for module in MODULES:
    importlib.import_module(module)
# What Python has in itself, and what is compiled for the machine, has no cached file.
modules = (module for name, module in sys.modules.items() if name != "__main__")
specs = [spec for module in modules if (spec := getattr(module, "__spec__", None))]
sources = {Path(spec.origin) for spec in specs if spec.has_location and spec.cached and spec.origin.endswith(".py")}
for source in sorted(sources | set(SCRIPTS)):
    # By the source's content: the final image may be of another architecture, with file times of its own.
    py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
