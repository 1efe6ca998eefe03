"""Weights: reading every known checkpoint layout without running code, the export folder, known weights, their cache.

from codistill.weights.read import read_checkpoint          # any file -> its dictionary, without running code
from codistill.weights.layouts import read_weights          # any file or folder -> EncoderWeights, StudentWeights
from codistill.weights.export import read_export, write_export
from codistill.weights.run import latest_checkpoint
from codistill.weights.known import known_weights
from codistill.weights.cache import find_weights            # a known name -> a file on this machine
"""
