"""Flatten nested records into a table."""

import json


def flatten(value, prefix=""):
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: ", ".join(value) if isinstance(value, list) else value}


with open("people.json") as f:
    people = [flatten(person) for person in json.load(f)]
people.sort(key=lambda p: -p["born"])
with open("people_flat.json", "w") as f:
    json.dump(people, f, indent=2, ensure_ascii=False)
print(json.dumps(people[0], sort_keys=True))
print(json.loads('[1, 2.5, null, true, "\\u00e9"]'))

# Prints:
# {"address.city": "Rotterdam", "born": 1930, "name": "Edsger", "tags": ""}
# [1, 2.5, None, True, 'é']
# Leaves:
# created people_flat.json
