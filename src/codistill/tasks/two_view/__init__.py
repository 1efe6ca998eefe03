"""Two-view head: fit a head on an encoder with pairs of posed views, and measure how well it relocalizes a camera.

`pairs`, `layouts` the data · `views` training views · `batches` ground truth of a batch · `token_cache` tokens computed
once · `config`, `start`, `fit` fitting with the engine · `head` its files · `predict` matches and relative pose of two
images · `options` of scoring · `task` the fitted head as a task · `relocalize/`, `multiview/` tasks that score it ·
`reconstruct/` scenes.
"""
