"""What the service does all day, once: an embedding, an answer, and files that nobody thought of."""

import openai

client = openai.OpenAI()  # OPENAI_API_KEY: its own key at first, a placeholder in the end

vector = client.embeddings.create(model="text-embedding-3-small", input="a warm coat").data[0].embedding
print("embedded:", len(vector), "numbers")

answer = client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "Which coat is warm?"}]
)
print("answered:", answer.choices[0].message.content)

try:
    print("files:   ", len(client.files.list().data))
except openai.PermissionDeniedError as refused:
    print("refused: ", refused.message)
