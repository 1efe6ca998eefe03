import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # engine_toys: also a program that tests start
