"""The classic training step in PyTorch, to measure this project's against.

The same network (`original`, any width), batch, loss and optimizer, written the way
PyTorch's own performance guide asks for: channels_last, cuDNN's search, gradients set
to None, fused Adam, TF32, bfloat16 autocast, torch.compile. Forms are named
PRECISION-MODE-LAYOUT; each prints one line of JSON, a form that fails one with `error`.

    python scripts/bench_peer_torch.py --steps 5
    python scripts/bench_peer_torch.py --forms bfloat16-eager-channels_last --width 32

`--serve` reads `FORM STEPS` lines from stdin and answers each with its line of JSON, so
that `deepfake-jax benchmark ratio` can alternate with it; both then measure alike.

One file on purpose, longer than scripts here are: it runs in an environment that has
PyTorch and not this package. Two things differ from ours, neither in its work: "SAME"
padding puts its one odd pixel on the other side (padding=2), and the flattened code's
order follows the memory's layout.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

PRECISIONS = ("float32", "bfloat16")
MODES = ("eager", "compile")
LAYOUTS = ("channels_last", "contiguous")
FORMS = tuple("-".join(form) for form in itertools.product(PRECISIONS, MODES, LAYOUTS))


class Upscale(nn.Module):
    """Doubles height and width: 3x3 convolution, leaky ReLU, pixel shuffle."""

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * features, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shuffle(nn.functional.leaky_relu(self.conv(x), 0.1))


def make_encoder(width: int) -> nn.Sequential:
    """3 x 64 x 64 to 4 `width` x 8 x 8."""
    layers: list[nn.Module] = []
    inputs = (3, width, 2 * width, 4 * width)
    for channels, factor in zip(inputs, (1, 2, 4, 8), strict=True):
        conv = nn.Conv2d(channels, factor * width, 5, stride=2, padding=2)
        layers += [conv, nn.LeakyReLU(0.1, inplace=True)]
    layers += [nn.Flatten(), nn.Linear(128 * width, 8 * width)]
    layers += [nn.Linear(8 * width, 128 * width), nn.Unflatten(1, (8 * width, 4, 4))]
    return nn.Sequential(*layers, Upscale(8 * width, 4 * width))


def make_decoder(width: int) -> nn.Sequential:
    """4 `width` x 8 x 8 to 3 x 64 x 64."""
    return nn.Sequential(
        Upscale(4 * width, 2 * width),
        Upscale(2 * width, width),
        Upscale(width, width // 2),
        nn.Conv2d(width // 2, 3, 5, padding=2),
        nn.Sigmoid(),
    )


class Pair(nn.Module):
    """Shared encoder, a decoder a side; both sides go through the encoder at once."""

    def __init__(self, width: int):
        super().__init__()
        self.encoder = make_encoder(width)
        self.decoder_a, self.decoder_b = make_decoder(width), make_decoder(width)

    def forward(self, warped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        code_a, code_b = self.encoder(warped).chunk(2)
        return self.decoder_a(code_a), self.decoder_b(code_b)


def adam(parameters, device: str) -> torch.optim.Optimizer:
    """Adam of the classic program, fused where this PyTorch can."""
    options = {"lr": 5e-5, "betas": (0.5, 0.999), "eps": 1e-7}
    parameters = list(parameters)
    try:
        return torch.optim.Adam(parameters, fused=True, **options)
    except (RuntimeError, ValueError, TypeError):
        return torch.optim.Adam(parameters, foreach=device != "cpu", **options)


class Peer:
    """One network a layout, shared by its forms, and their step functions."""

    def __init__(self, width: int, batch_size: int, device: str):
        self.width, self.batch_size, self.device = width, batch_size, device
        self.steps: dict[str, Callable[[], torch.Tensor]] = {}
        self.compile_seconds: dict[str, float] = {}
        self.layouts: dict[str, tuple] = {}

    def build(self, layout: str) -> tuple:
        """Network, optimizer and a uint8 batch on the device in a memory layout."""
        if layout not in self.layouts:
            torch.manual_seed(0)
            memory = getattr(
                torch, "contiguous_format" if layout == "contiguous" else layout
            )
            model = Pair(self.width).to(self.device, memory_format=memory)
            shape = (2 * self.batch_size, 3, 64, 64)
            warped, target = (
                torch.randint(
                    256, shape, dtype=torch.uint8, device=self.device
                ).contiguous(memory_format=memory)
                for _ in range(2)
            )
            optimizer = adam(model.parameters(), self.device)
            self.layouts[layout] = model, optimizer, (warped, target)
        return self.layouts[layout]

    def make_step(self, form: str) -> Callable[[], torch.Tensor]:
        """A function without arguments that does one whole update."""
        precision, mode, layout = form.split("-")
        model, optimizer, (warped, target) = self.build(layout)
        kind = torch.device(self.device).type

        def forward(warped: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            low = precision == "bfloat16"
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=low):
                output_a, output_b = model(warped.float() / 255)
            target_a, target_b = (target.float() / 255).chunk(2)
            l1_loss = nn.functional.l1_loss
            return l1_loss(output_a.float(), target_a) + l1_loss(
                output_b.float(), target_b
            )

        if mode == "compile":
            # On a GPU, with CUDA graphs. `max-autotune`, which may be faster, takes
            # minutes to measure all convolutions.
            options = {"mode": "reduce-overhead"} if kind == "cuda" else {}
            forward = torch.compile(forward, **options)

        def step() -> torch.Tensor:
            if mode == "compile" and kind == "cuda":
                torch.compiler.cudagraph_mark_step_begin()
            optimizer.zero_grad(set_to_none=True)
            loss = forward(warped, target)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def measure(self, form: str, steps: int, warmup: int) -> dict:
        """Times `steps` updates of one form after `warmup` others."""
        if form not in FORMS:
            raise ValueError(f"no form {form!r}; there are {', '.join(FORMS)}")
        if form not in self.steps:
            self.steps[form] = self.make_step(form)
            start = time.perf_counter()
            self.steps[form]()  # compiles, or lets cuDNN search
            self.wait()
            self.compile_seconds[form] = time.perf_counter() - start
        step, times = self.steps[form], []
        loss = step()
        for _ in range(warmup - 1):
            step()
        self.wait()
        # A GPU is timed over runs of ten without a wait, as training would run it.
        chunk = 10 if self.device != "cpu" and steps >= 10 else 1
        for _ in range(max(steps // chunk, 1)):
            start = time.perf_counter()
            for _ in range(chunk):
                loss = step()
            self.wait()
            times.append((time.perf_counter() - start) / chunk)
        median = statistics.median(times)
        return {
            "form": form,
            "images_per_second": 2 * self.batch_size / median,
            "step_ms": 1e3 * median,
            "step_ms_min": 1e3 * min(times),
            "step_ms_max": 1e3 * max(times),
            "steps": steps,
            "first_step_seconds": self.compile_seconds[form],
            "loss": float(loss),
        }


def try_form(peer: Peer, form: str, steps: int, warmup: int) -> dict:
    """`Peer.measure`; a failure is a result: torch.compile needs a compiler."""
    try:
        return peer.measure(form, steps, warmup)
    except Exception as error:  # anything: the other forms still count
        peer.steps.pop(form, None)
        text = f"{type(error).__name__}: {error}".splitlines()
        return {"form": form, "error": text[0][:300] if text else "failed"}


def describe(args: argparse.Namespace) -> dict:
    """What ran: device, versions, settings."""
    gpu = args.device != "cpu"
    return {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "tf32": torch.backends.cuda.matmul.allow_tf32 if gpu else None,
        "mkldnn": torch.backends.mkldnn.is_available(),
        "forms": list(args.forms),
        "width": args.width,
        "batch_size": args.batch_size,
    }


def main() -> None:
    """Measures each form once, or whatever stdin asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64, help="faces of each side")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1, help="at least 1")
    parser.add_argument("--device", default="")
    parser.add_argument("--threads", type=int, help="CPU threads; default: PyTorch's")
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS)
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    peer = Peer(args.width, args.batch_size, args.device)
    print(json.dumps(describe(args)), flush=True)
    if args.serve:
        jobs = ((*line.split(), args.warmup) for line in sys.stdin)
    else:
        jobs = ((form, args.steps, args.warmup) for form in args.forms)
    for form, steps, warmup in jobs:
        print(json.dumps(try_form(peer, form, int(steps), int(warmup))), flush=True)


if __name__ == "__main__":
    main()
