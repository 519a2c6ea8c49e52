"""`python -m jupyterlab_postdoc.cli`."""

from __future__ import annotations

import sys

from jupyterlab_postdoc.cli import main

sys.exit(main())
