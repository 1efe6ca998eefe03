"""Two views: a head on an encoder, trained on posed pairs, and how well it relocalizes a camera.

`pairs`, `layouts` what is measured · `views` what training sees · `batches` truth of a batch · `token_cache` tokens
computed once · `config`, `start`, `fit` the head, through the engine · `head` what lies on disk · `predict` matches and
pose of two images · `options` how models are tested · `task` the fitted head as a task · `relocalize/`, `multiview/`
tasks that score it · `reconstruct/` scenes.
"""
