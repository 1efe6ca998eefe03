"""Human-mesh recovery on frozen features: detect all people in an image, and recover each as a posed body in metres.

`sample` a labelled image · `data`, `world_people`, `smplx_layouts`, `folder` data sources · `views` the encoder's input
· `tokens`, `stored_labels` what is stored on disk · `loading` batches with targets · `config` · `start`,
`least_squares`, `objective`, `fit` · `model`, `load`, `baseline` · `scoring`, `scores` · `draw`, `export` pictures,
JSON and GLB · `task` the `Task` value.

Source: Multi-HMR (arXiv 2402.14654) on any encoder, as in DUNE (arXiv 2503.14405).
"""
