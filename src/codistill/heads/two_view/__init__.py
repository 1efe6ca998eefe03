"""Two-view head: a cross-attention decoder with heads for pointmaps, confidences and descriptors on encoder tokens.

`network` holds the parts, `model` an encoder with them, `postprocess` decodes raw channels, `losses` trains them,
`matching` matches descriptors, `load` reads the released files.

Source: DUSt3R (arXiv 2312.14132), MASt3R (arXiv 2406.09756), DUNE (arXiv 2503.14405).
"""
