"""What holds for every unit test."""

import os

# Tests run side by side, one a core: a second thread each would only wait. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
