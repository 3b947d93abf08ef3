# Of requirements.lock, what is left without PyTorch and the CUDA libraries that its build for GPUs needs.
/^[^ ]/ { kept = !/^(torch|torchvision|triton)==|^(cuda|nvidia)-/ }
kept
