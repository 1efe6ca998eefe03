"""People on frozen features: find everybody in an image, and recover each as a posed body in metres.

`sample` a labelled image · `data`, `world_people`, `smplx_layouts`, `folder` where they come from · `views` what the
encoder sees · `tokens`, `stored_labels` what is kept on disk · `loading` batches with targets · `config` · `start`,
`least_squares`, `objective`, `fit` · `model`, `load`, `baseline` · `scoring`, `scores` · `draw`, `export` pictures,
JSON and GLB · `task` all of it as a task.
Source: Multi-HMR (arXiv 2402.14654) on any encoder, as in DUNE (arXiv 2503.14405).
"""
