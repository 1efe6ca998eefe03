"""Objects in a store (S3, Google Cloud Storage, a web server, Hugging Face): read in ranges, cached on the local disk.

state = object_state("s3://bucket/photos/1.jpg")                  # size and tag
data = read_range("s3://bucket/shards/0.tar", 512, 4096)          # retried while the store fails or is slow
cache = RangeCache(cache_folder() / "objects", limit=32 * 10**9)  # shared; least recently used data go first
"""
