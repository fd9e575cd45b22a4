"""`python -m tools.kubernetes build|images|up|down|run COMMAND…`: run is in its network, where pods are met."""

import os
import sys

from tools.kubernetes import cluster, farm_images, place, space
from tools.kubernetes.build import build, helm
from tools.kubernetes.place import Trouble


def main(words: list[str]) -> int:
    match words:
        case ["build"]:
            build()
            helm()
        case ["images"]:
            sys.stdout.writelines(f"{archive}\n" for archive in farm_images.archives())
        case ["up"]:
            cluster.up()
            sys.stdout.write(f"KUBECONFIG={place.kubeconfig()}\n")
        case ["down"]:
            cluster.down()
        case ["run", *command] if command:
            line = space.inside(command, mounts=False)
            os.execvp(line[0], line)
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        sys.exit(3)
