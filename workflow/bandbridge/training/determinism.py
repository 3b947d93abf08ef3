"""Whether a training repeats to the bit on its device."""

import torch

from bandbridge.training.batches import Batch
from bandbridge.training.stages import Stage

NOT_DETERMINISTIC = "does not have a deterministic implementation"


def hold_to_determinism(stage: Stage, batch: Batch) -> str | None:
    """Have torch refuse what does not repeat to the bit, if the stage can do without; a trial step finds out.

    On a GPU that only warns of such operations (`device.set_up`), torch sums the gradients of attention in an order
    left to chance, although it could do otherwise. Weights and buffers of the stage stay as they are.

    Returns:
        None, or a remark that names what cannot be done without; torch goes on warning then.
    """
    before = [buffer.clone() for buffer in stage.buffers()]
    torch.use_deterministic_algorithms(True)
    try:
        stage.train()
        stage(batch)["loss"].backward()
        stage.eval()
        with torch.inference_mode():
            stage.validation(batch)
    except RuntimeError as error:
        torch.use_deterministic_algorithms(True, warn_only=True)
        if NOT_DETERMINISTIC not in str(error):
            raise
        operation = str(error).split(NOT_DETERMINISTIC)[0].split()[-1]
        return f"{operation} {NOT_DETERMINISTIC} on this device: the same seed gives slightly other weights each time"
    finally:
        stage.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, content in zip(stage.buffers(), before, strict=True):
                buffer.copy_(content)
    return None
