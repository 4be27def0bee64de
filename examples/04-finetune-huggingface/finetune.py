"""Stands for the fine-tuning program: it pulls a gated model, and pushes what became of it."""

import json
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

config = json.loads(Path(hf_hub_download("meta-llama/Llama-3.1-8B", "config.json")).read_text())
print("pulled:  ", config["model_type"], "of", config["hidden_size"])

hub = HfApi()
tuned = json.dumps({**config, "_name_or_path": "acme/llama-finetuned"}).encode()
commit = hub.upload_file(
    path_or_fileobj=tuned,
    path_in_repo="config.json",
    repo_id="acme/llama-finetuned",
    commit_message="Fine-tuned",
)
print("pushed:  ", commit.oid)

try:
    hub.delete_repo("acme/llama-finetuned")
except HfHubHTTPError as error:
    print("refused: ", error.response.status_code, error.response.headers["podkey-reason"])
