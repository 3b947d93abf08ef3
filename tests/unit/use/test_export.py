"""An exported model carries what it needs, and other libraries load it."""

import json
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from band_images import BANDS, random_pixels
from http_server import serving

import bandbridge
from bandbridge.base.errors import UserError
from bandbridge.catalogue.modalities import Composite
from bandbridge.catalogue.sensors import composite
from bandbridge.use import transformers_copy
from bandbridge.use.export import export, push
from bandbridge.use.summary import as_text

# Nothing of this package can be imported in it.
WITHOUT_US = """
import json, sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bandbridge":
            raise ImportError(name)
sys.meta_path.insert(0, Refusing())
import numpy as np, timm, torch
from safetensors.torch import load_file
folder, pixels, out = sys.argv[1:]
about = json.load(open(f"{folder}/input.json"))
trunk = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
linear = load_file(f"{folder}/projection.safetensors")
values = torch.from_numpy(np.load(pixels))
mean, std = (torch.tensor(about["statistics"][key]).view(-1, 1, 1) for key in ("mean", "std"))
with torch.inference_mode():
    embedding = torch.nn.functional.linear(trunk((values - mean) / std), linear["weight"], linear["bias"])
np.save(out, torch.nn.functional.normalize(embedding, dim=-1).numpy())
assert "bandbridge" not in sys.modules
"""


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "my-model"
    assert export(model, folder) == []
    return folder


def test_an_exported_student_is_the_same_model(model, exported):
    again = bandbridge.load(exported, device="cpu", precision="float32")
    pixels = random_pixels(height=20, width=20)
    np.testing.assert_array_equal(again.encode_images(pixels), model.encode_images(pixels))
    np.testing.assert_array_equal(again.encode_text("a lake"), model.encode_text("a lake"))
    assert again.classify(pixels[None]).measure == "probability"
    assert (again.bands, again.classes) == (model.bands, model.classes)
    for key in ("units", "templates", "prompts", "window", "calibration", "scores", "composite", "data"):
        assert getattr(again.card, key) == getattr(model.card, key) or key in ("composite",)
    local = bandbridge.load(f"local-dir:{exported}", device="cpu", precision="float32")
    np.testing.assert_array_equal(local.encode_images(pixels), model.encode_images(pixels))


@pytest.mark.slow
def test_timm_loads_the_student_without_this_package(model, exported, tmp_path):
    pixels = random_pixels(height=16, width=16)[None].astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    arguments = [str(exported), str(tmp_path / "pixels.npy"), str(tmp_path / "out.npy")]
    subprocess.run(
        [sys.executable, "-c", WITHOUT_US, *arguments], check=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}
    )
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.encode_images(pixels), atol=1e-6)


def test_the_model_card_has_the_hubs_fields(exported):
    _, front, text = (exported / "README.md").read_text().split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["pipeline_tag"] == "zero-shot-image-classification"
    assert fields["library_name"] == "timm"
    for heading in ("Intended use", "Data", "Scores", "Limits", "Use"):
        assert f"## {heading}\n" in text
    assert "forest, water, town" in text


def test_the_stac_item_is_read_back_by_pystac(exported):
    import pystac
    from pystac.extensions.mlm import ItemMLMExtension

    item = pystac.Item.from_file(exported / "item.json")
    described = ItemMLMExtension.ext(item)
    assert described.architecture == "vit_tiny_patch16_224"
    assert described.input[0].bands == list(BANDS)
    assert described.input[0].input.shape == [-1, 5, 16, 16]
    assert described.output[0].result.shape == [-1, 8]
    assert (exported / item.assets["model"].href).is_file()


@pytest.mark.slow
def test_onnx_gives_torchs_embeddings(model, tmp_path):
    import onnxruntime

    (remark,) = export(model, tmp_path / "m", onnx=True)
    assert "within" in remark
    session = onnxruntime.InferenceSession(tmp_path / "m" / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 4):
        pixels = np.stack([random_pixels(height=16, width=16, seed=seed) for seed in range(count)]).astype(np.float32)
        (embedded,) = session.run(None, {"pixels": pixels})
        np.testing.assert_allclose(embedded, model.encode_images(pixels), atol=1e-4)


def test_an_exported_clip_loads_in_open_clip_and_transformers(run_folder, tmp_path):
    import open_clip
    from transformers import CLIPModel, CLIPTokenizer

    clip = bandbridge.load(
        run_folder / "clip" / "tiny", device="cpu", precision="float32", composite="B04,B03,B02:3000"
    )
    export(clip, tmp_path / "m")
    picture = torch.from_numpy(random_pixels(3, 16, 16).astype(np.uint8))[None]
    prepared, words = clip.parts.clip.inputs(picture), ["a lake", "two houses by a river"]
    with torch.inference_mode():
        expected = clip.parts.clip.visual(prepared), clip.parts.clip.model.encode_text(clip.parts.clip.tokenizer(words))
        theirs = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'm'}", return_transform=False)
        torch.testing.assert_close(theirs.encode_image(prepared), expected[0])
        converted = CLIPModel.from_pretrained(tmp_path / "m" / "transformers").eval()
        tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "m" / "transformers")
        tokens = tokenizer(words, return_tensors="pt", padding="max_length", max_length=8, truncation=True)
        image = converted.visual_projection(converted.vision_model(pixel_values=prepared).pooler_output)
        text = converted.text_projection(converted.text_model(input_ids=tokens["input_ids"]).pooler_output)
    torch.testing.assert_close(image, expected[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(text, expected[1], atol=1e-5, rtol=1e-4)
    again = bandbridge.load(tmp_path / "m", device="cpu")
    assert again.bands == ("B04", "B03", "B02")


def test_a_clip_patched_on_stretched_composites_is_used_with_them(run_folder, tmp_path):
    stretch = {"bands": ["B04", "B03", "B02"], "ranges": [[500, 2500], [400, 2000], [300, 1500]], "gamma": 1.5}
    clip = bandbridge.load(run_folder / "clip" / "tiny", device="cpu", precision="float32")
    clip.card = replace(clip.card, composite={**stretch, "percentiles": [2, 98]})
    export(clip, tmp_path / "m")
    again = bandbridge.load(tmp_path / "m", device="cpu", precision="float32")
    pixels = random_pixels(height=16, width=16)
    picture = composite(pixels, BANDS, Composite.from_facts(stretch))
    expected = again.encode_images(np.moveaxis(picture, 0, -1))
    np.testing.assert_allclose(again.encode_images(pixels, bands=BANDS), expected, atol=0.02)
    white = {**stretch, "ranges": [[0, 9000]] * 3}
    other = again.encode_images(np.moveaxis(composite(pixels, BANDS, Composite.from_facts(white)), 0, -1))
    assert np.abs(other - expected).max() > 0.1
    assert "B04, B03, B02, black to white: 500 to 2500, 400 to 2000, 300 to 1500, gamma 1.5" in as_text(again)


def test_a_clip_that_transformers_has_not_is_named(run_folder):
    clip = bandbridge.load(run_folder / "clip" / "tiny", device="cpu").parts.clip
    tower = replace(clip, model_cfg={**clip.model_cfg, "text_cfg": {"hf_model_name": "."}})
    assert "tower" in transformers_copy.why_not(tower)
    other = replace(
        clip, model_cfg={**clip.model_cfg, "vision_cfg": {**clip.model_cfg["vision_cfg"], "pool_type": "avg"}}
    )
    assert "pool_type" in transformers_copy.why_not(other)


def test_only_an_export_is_replaced(model, exported, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    with pytest.raises(UserError, match=r"holds other files"):
        export(model, tmp_path / "photos")
    before = (exported / "model.safetensors").read_bytes()
    export(model, exported)
    assert (exported / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("projection.safetensors", None, "projection.safetensors is missing"),
        ("input.json", "{}", "input.json: damaged"),
        ("bandbridge.json", '{"format": 9}', "has format 9"),
        ("bandbridge.json", "nonsense", "bandbridge.json: damaged"),
    ],
)
def test_a_damaged_export_is_refused_by_its_file(exported, tmp_path, file, content, message):
    import shutil

    folder = shutil.copytree(exported, tmp_path / "copy")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(UserError, match=message):
        bandbridge.load(folder)


# --- the hub ----------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub's API as an upload asks for."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        self.server.seen.append((self.path, body))
        if self.server.refuses:
            self._answer(403, {"error": "no"})
        elif self.path.endswith("/repos/create"):
            self._answer(200, {"url": f"{self.server.address}/ann/my-model", "name": "ann/my-model", "id": "1"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            answers = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            self._answer(200, {"files": answers})
        elif "/commit/" in self.path:
            url = f"{self.server.address}/ann/my-model/commit/{'a' * 40}"
            self._answer(200, {"success": True, "commitOid": "a" * 40, "commitUrl": url, "pullRequestUrl": None})
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def do_GET(self):
        self.server.seen.append((self.path, b""))
        self._answer(200, {"id": "ann/my-model", "sha": "b" * 40, "siblings": [], "xetEnabled": False})

    def _chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address, server.seen, server.refuses = f"http://127.0.0.1:{server.server_port}", [], False
    import huggingface_hub

    # What the variables HF_ENDPOINT and HF_TOKEN do in a new process.
    usual = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.address)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: usual(endpoint=server.address, token="hf_test"))
    with serving(server):
        yield server


def test_push_uploads_every_file_of_the_folder(exported, hub):
    assert push(exported, "ann/my-model", private=True) == f"{hub.address}/ann/my-model/commit/{'a' * 40}"
    (created,) = [json.loads(body) for path, body in hub.seen if path.endswith("/repos/create")]
    assert (created["name"], created["organization"]) == ("my-model", "ann")
    assert created.get("private") or created["visibility"] == "private"
    commit = b"\n".join(body for path, body in hub.seen if "/commit/" in path).decode()
    sent = {json.loads(line)["value"].get("path") for line in commit.splitlines() if line}
    names = ("README.md", "bandbridge.json", "model.safetensors", "projection.safetensors", "item.json", "config.json")
    assert {*names, "text/open_clip_model.safetensors"} <= sent


def test_a_hub_that_refuses_leaves_a_sentence(exported, hub):
    hub.refuses = True
    with pytest.raises(UserError, match=r"(?s)the upload failed .* is complete"):
        push(exported, "ann/my-model")


@pytest.mark.parametrize("name", ["my-model", "a/b/c", "/x"])
def test_a_name_that_no_hub_has_is_refused(exported, name):
    with pytest.raises(UserError, match=r"expected owner/name"):
        push(exported, name)
