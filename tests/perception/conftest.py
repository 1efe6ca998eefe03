import sys
from pathlib import Path

for folder in ("perception", "tasks", "bodies"):  # toy_heads, task_toys, test_smplx
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
