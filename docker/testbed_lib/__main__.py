"""What `docker/testbed` starts."""

import sys

from .cli import main

sys.exit(main())
