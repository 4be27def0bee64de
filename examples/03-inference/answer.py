"""Answers one question, with what the vector database has of it. The web server around it is left out."""

import sys

import openai
import requests

VECTORS = "https://vectors.acme.example:6333"

client = openai.OpenAI()  # OPENAI_API_KEY, and OPENAI_BASE_URL where it is set
question = sys.argv[1]

vector = client.embeddings.create(model="text-embedding-3-small", input=question).data[0].embedding
# The database's own client would be given no key at all.
asked = {"query": vector, "limit": 3, "with_payload": True}
found = requests.post(f"{VECTORS}/collections/products/points/query", json=asked, timeout=30)
found.raise_for_status()
known = [point["payload"]["text"] for point in found.json()["result"]["points"]]
print("known:   ", "; ".join(known))

messages = [{"role": "system", "content": "\n".join(known)}, {"role": "user", "content": question}]
answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
print("answer:  ", answer.choices[0].message.content)

# Another collection is somebody else's.
other = requests.get(f"{VECTORS}/collections/customers/points/1", timeout=30)
print("refused: ", other.status_code, other.headers["podkey-reason"])
