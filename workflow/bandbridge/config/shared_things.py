"""What a run shares with others that have the same `data_root` or `store_root`."""

from bandbridge.config.run import Run
from bandbridge.config.sharing import Shared, shared_download, shared_store


def shared_things(run: Run) -> list[Shared]:
    """The stores of its data sets, its text tower, and the published weights that its students start from."""
    paths = run.paths
    things = [shared_store(run.dataset(dataset), paths.stores) for dataset in run.datasets]
    if run.tower:
        things.append(shared_download(run.tower, paths.downloads, "fetch_text_tower"))
    weights = [shared_download(file, paths.downloads, "fetch_weights", file=file) for file in run.fetched_weights]
    return [*things, *weights]
