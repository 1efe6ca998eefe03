"""`codistill serve [--perception NAME|YAML]`: serves the live page and the REST API."""

import logging

from codistill.commands.parsers.serve import parse
from codistill.serve.extra import check_extra
from codistill.serve.settings import ServeSettings


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    settings = ServeSettings(
        host=arguments.host,
        port=arguments.port,
        names=tuple(name.lower() for name in arguments.name),
        token=arguments.token,
        max_body=arguments.max_megabytes << 20,
        max_pixels=int(arguments.max_megapixels * 1e6),
        max_edge=arguments.max_edge,
        max_fps=arguments.max_fps,
        max_clients=arguments.max_clients,
        seconds=arguments.seconds,
    )
    check_extra()
    from codistill.perception.perception import Perception
    from codistill.perception.pretrained import find_perception
    from codistill.serve.run import serve  # needs the extra `serve`

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    print(f"loading {arguments.perception} …", flush=True)
    perception = Perception.from_config(find_perception(arguments.perception), device=arguments.device)
    serve(perception, settings, warm=arguments.warm)
    return 0
