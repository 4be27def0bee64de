"""An ordinary program. It knows nothing of podkey: its keys come from the environment, as they always did."""

import os

import openai
import requests

client = openai.OpenAI()  # OPENAI_API_KEY, and OPENAI_BASE_URL where it is set

answer = client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "Who holds the key?"}]
)
print("chat:     ", answer.choices[0].message.content)

words = client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "Say it slowly."}], stream=True
)
print("streamed: ", "".join(chunk.choices[0].delta.content or "" for chunk in words))

report = requests.get(os.environ["REPORT_URL"], auth=("app", os.environ["REPORT_PASSWORD"]), timeout=10)
print("report:   ", report.status_code, report.json()["report"])

try:
    client.files.list()
except openai.PermissionDeniedError as refused:
    print("refused:  ", refused.message)
