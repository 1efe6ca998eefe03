"""Two views: a head on an encoder, trained on posed pairs, and how well it relocalizes a camera.

`pairs`, `layouts` the data · `views` training views · `batches` truth of a batch · `token_cache` tokens computed once ·
`config`, `start`, `fit` the head, through the engine · `head` its files · `predict` matches and pose of two images ·
`options` of scoring · `task` the fitted head as a task · `relocalize/`, `multiview/` tasks that score it ·
`reconstruct/` scenes.
"""
