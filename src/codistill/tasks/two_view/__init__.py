"""Two views: a head on an encoder, trained on posed pairs, and how well it relocalizes a camera.

`pairs`, `layouts` what is measured · `views` what training sees · `batches` truth of a batch · `token_cache` tokens
computed once · `start`, `fit` the head, through the engine · `predict` matches and pose of two images · `baselines`
what needs no head · `evaluate`, `mapfree` scores.
"""
